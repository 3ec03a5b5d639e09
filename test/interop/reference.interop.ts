import t from 'tap'
import { findReference } from '../../scripts/reference.ts'
import { approvalTests } from './approvals.ts'
import { bothCliTests } from './both-clis.ts'
import { cliTests } from './cli.ts'
import { discoveryTests } from './discovery.ts'
import { enrolledTests } from './enrolled.ts'
import { funnelTests } from './funnel.ts'
import { httpTests } from './http.ts'
import { guarded, limitTests } from './limits.ts'
import { nodeHostTests } from './node-host.ts'
import { nodeWorkTests } from './node-work.ts'
import { nodeTests } from './nodes.ts'
import { startPair } from './pair.ts'
import { proxiedTests } from './proxied.ts'
import { reloadTests } from './reload.ts'
import { serveTests } from './serve.ts'
import { startupTests } from './startup.ts'
import { toolsTests } from './tools.ts'
import { wireTests } from './wire.ts'

t.setTimeout(900_000)

const skip = findReference() === undefined && 'the reference is not installed; npm run test:interop installs it'

// One pair after the other: a reference gateway takes a core for its start, and 600 MB.
t.test('the reference and this gateway give the same answers', { skip }, async (t) => {
  await t.test('with a token', async (t) => {
    const pair = await startPair()
    t.teardown(() => pair.stop())
    await t.test('on the wire', (t) => wireTests(t, pair))
    await t.test('to the reference CLI', (t) => cliTests(t, pair))
    await t.test('to nodes, and to whoever uses them', (t) => nodeTests(t, pair))
    await t.test('to nodes, about what waits and what they tell', (t) => nodeWorkTests(t, pair))
    await t.test('about commands that wait for a person', (t) => approvalTests(t, pair))
    await t.test('to node hosts, and theirs to gateways', (t) => nodeHostTests(t, pair))
  })
  await t.test('to both CLIs, with one configuration', bothCliTests)
  await t.test('with a token and few attempts', async (t) => {
    const pair = await guarded()
    t.teardown(() => pair.stop())
    await t.test('over HTTP', (t) => httpTests(t, pair))
    await t.test('to guesses', (t) => limitTests(t, pair))
    await t.test('while the configuration changes', (t) => reloadTests(t, pair))
  })
  await t.test('to whoever uses tools and methods over HTTP', toolsTests)
  await t.test('behind a trusted proxy', proxiedTests)
  await t.test('behind a trusted proxy whose users enrol', enrolledTests)
  await t.test('through Tailscale Serve', serveTests)
  await t.test('through Tailscale Funnel', funnelTests)
  await t.test('to a configuration that cannot start', startupTests)
  await t.test('to whoever looks for gateways on a network', discoveryTests)
})
