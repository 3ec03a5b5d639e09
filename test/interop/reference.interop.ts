import t from 'tap'
import { cliTests } from './cli.ts'
import { startPair } from './pair.ts'
import { wireTests } from './wire.ts'

t.setTimeout(900_000)

t.test('the reference and this gateway give the same answers', async (t) => {
  const pair = await startPair()
  t.teardown(() => pair.stop())
  await t.test('on the wire', (t) => wireTests(t, pair))
  await t.test('to the reference CLI', (t) => cliTests(t, pair))
})
