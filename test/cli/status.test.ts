import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli } from '../support/cli.ts'
import { startProcess, TOKEN } from '../support/gateway.ts'
import { startTailnet } from '../support/tailscaled.ts'

t.test('status says where the gateway is, and what of its configuration is not in force', async (t) => {
  const tailnet = await startTailnet(t)
  const section = {
    mode: 'local',
    auth: { mode: 'token', token: TOKEN },
    tailscale: { mode: 'serve', socket: tailnet.socket },
    tls: { enabled: true }
  }
  const text = (more = {}) => JSON.stringify({ gateway: { ...section, ...more } })
  const gateway = await startProcess(t, { config: text(), env: tailnet.env })
  const env = { ...tailnet.env, HOME: gateway.stateDir, OPENCLAW_STATE_DIR: gateway.stateDir }
  const status = async () => (await runCli(env, ['status'])).out
  await gateway.said('tailscale exposes the gateway')
  const calm = await status()
  t.match(calm, /^TLS +sha256:[0-9a-f]{64}, until \d{4}-\d{2}-\d{2}$/m)
  t.match(calm, /^Tailscale +serve, https:\/\/box\.tail1\.ts\.net\/$/m)
  t.notMatch(calm, /Configuration|Needs a restart/)

  await tailnet.kill()
  await gateway.said('tailscale does not expose the gateway')
  t.match(await status(), /^Tailscale +serve, not reachable there: .*tailscaled/m)

  writeFileSync(join(gateway.stateDir, 'openclaw.json'), text({ tls: { enabled: false } }))
  await gateway.said('restart the gateway to apply these settings')
  t.match(await status(), /^Needs a restart +gateway\.tls\.enabled$/m)

  writeFileSync(join(gateway.stateDir, 'openclaw.json'), text({ port: 'x' }))
  await gateway.said('configuration not applied')
  const wrong = await status()
  t.match(wrong, /^Configuration +not applied: .*gateway\.port/m)
  t.match(wrong, /^Reachable +yes/m)
})
