import { accessSync, constants } from 'node:fs'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { livesOf } from './lives.ts'
import { Parts } from './parts.ts'
import { Sockets } from './sockets.ts'

t.setTimeout(115_000)

const LIVES = Number(process.env.PAIRING_LIVES ?? 10_000)
const LIVES_OVER_SOCKETS = 60

t.test('S8, S12: no order of events gives anybody more than was approved, or keeps the owner out', async (t) => {
  const parts = await Parts.open(memory())
  t.teardown(() => parts.close())
  // A life that failed has not ended itself.
  const begin = async () => {
    await parts.end()
    return parts
  }
  const lives = livesOf(begin, { maxSteps: 24, withClock: true })
  await check(t, lives, { numRuns: LIVES, interruptAfterTimeLimit: 80_000 })
})

t.test('S8, S12, S14: the same over sockets', async (t) => {
  const lives = livesOf(() => Sockets.open(t), { maxSteps: 16, withClock: false })
  await check(t, lives, { numRuns: LIVES_OVER_SOCKETS, interruptAfterTimeLimit: 30_000 })
})

async function check(
  t: Test,
  { property, done }: ReturnType<typeof livesOf>,
  parameters: fc.Parameters<unknown>
): Promise<void> {
  const seed = Number(process.env.PAIRING_SEED ?? Date.now() % 2 ** 31)
  const report = await fc.check(property, { ...(parameters as object), seed })
  t.comment(`seed ${seed}: ${done.lives} lives, ${done.steps} steps`)
  if (report.failed)
    t.fail(`${fc.defaultReportMessage(report)}\n${(report.errorInstance as Error | null)?.stack ?? ''}`)
  else t.ok(done.lives > 10, `${done.lives} lives of a gateway`)
}

/** A file system in memory, where there is one: each of these lives writes many times. */
function memory(): string | undefined {
  try {
    accessSync('/dev/shm', constants.W_OK)
    return '/dev/shm'
  } catch {
    return undefined
  }
}
