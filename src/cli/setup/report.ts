import type { Io } from '../io.ts'
import { printable, printJson, printRows, styleOf } from '../output.ts'
import type { Started } from './start.ts'
import type { Verified } from './verify.ts'

/** What a first run came to. */
export interface Outcome {
  mode: 'local' | 'remote'
  /** The gateway, as a person writes it. */
  where: string
  configPath: string
  /** The keys that got another value; never a value. */
  changed: readonly string[]
  /** The key of a secret that was made just now. */
  generated?: string
  gateway?: Started
  /** Undefined where no connection was made. */
  verified: Verified | undefined
  warnings: readonly string[]
  /** The commands that come next. */
  next: readonly string[]
}

/** Prints what a first run came to. */
export function reportOutcome(io: Io, outcome: Outcome, json: boolean): void {
  const { verified, warnings, ...rest } = outcome
  if (json) {
    printJson(io, { ok: true, ...rest, verified: verified !== undefined, connection: verified, warnings })
    return
  }
  const style = styleOf(io)
  const { changed, configPath, gateway, generated, mode, where, next } = outcome
  if (verified !== undefined) io.stdout(style.green(`It works: version ${printable(verified.version)} answers.`))
  printRows(io, [
    ['Gateway', where],
    ['Runs', gateway && runsText(gateway)],
    ['Signed in', verified && `${verified.method} (${verified.scopes.join(', ') || 'no scopes'})`],
    [
      'Wrote',
      changed.length === 0 ? `nothing: ${configPath} says it already` : `${changed.join(', ')} (${configPath})`
    ],
    ['Not tried', verified === undefined ? 'no connection was made' : undefined]
  ])
  if (generated !== undefined) {
    io.stdout(`A new secret is in ${generated}, readable by you alone. Show it: openclaw gateway auth-token --show`)
  }
  for (const warning of warnings) io.stderr(`${style.yellow('warning:')} ${printable(warning)}`)
  io.stdout(style.dim(mode === 'remote' ? 'Commands of this host now go there. Next:' : 'Next:'))
  for (const command of next) io.stdout(`  ${command}`)
}

function runsText({ state, pid }: Started): string {
  const process = pid === undefined ? '' : ` (pid ${pid})`
  switch (state) {
    case 'running':
      return `yes, it did already${process}`
    case 'started':
      return `yes, in the background until this host restarts${process}`
    case 'installed':
      return `yes, as a service of this user${process}`
    case 'stopped':
      return 'no'
  }
}
