import { ConfigError } from '../config/errors.ts'
import type { Fix } from '../protocol/errors.ts'
import type { Io } from './io.ts'
import { printable, printJson, styleOf } from './output.ts'

/** What any of our errors may carry for a person; a foreign error carries none of it. */
interface Told {
  code?: unknown
  fix?: unknown
  exitCode?: unknown
  type?: unknown
  extra?: unknown
  told?: unknown
}

/** Prints a failure once, for a person or as JSON, and sets the exit code. */
export function reportError(io: Io, error: unknown, json: boolean): void {
  const told: Told = typeof error === 'object' && error !== null ? error : {}
  const message = error instanceof Error ? error.message : String(error)
  const code = typeof told.code === 'string' ? told.code : 'UNEXPECTED'
  // What is wrong with a configuration that this process has read is mended here, wherever the gateway is.
  const text = error instanceof ConfigError ? error.fix.command : fixText(told.fix)
  const fix = text === undefined ? undefined : inProfile(text, io.profile)
  io.exit(typeof told.exitCode === 'number' ? told.exitCode : 1)
  if (json) {
    const type = typeof told.type === 'string' ? told.type : 'cli_error'
    const shape = { type, code, message, ...(told.told ?? {}), ...(fix === undefined ? {} : { fix }) }
    printJson(io, { ok: false, error: shape, ...(told.extra ?? {}) })
    return
  }
  const style = styleOf({ color: io.color && process.stderr.isTTY === true })
  io.stderr(`${style.red('error:')} ${printable(message)}`)
  if (fix !== undefined) io.stderr(`${style.green('fix:')} ${printable(fix)}`)
  if (code === 'UNEXPECTED' && io.env.OPENCLAW_DEBUG && error instanceof Error) io.stderr(error.stack ?? '')
}

/** A fix as this process has to say it: for its profile, and for a client where the gateway is elsewhere. */
export function ownFix(io: Io, { command, where }: Fix, client: boolean): Fix {
  const profile = io.profile ?? (io.dev ? 'dev' : undefined)
  return { command: inProfile(command, profile), where: client ? 'this client' : where }
}

function fixText(fix: unknown): string | undefined {
  if (typeof fix === 'string') return fix
  if (typeof fix !== 'object' || fix === null || !('command' in fix)) return undefined
  const where = 'where' in fix && fix.where === 'gateway host' ? ' (on the gateway host)' : ''
  return `${String(fix.command)}${where}`
}

// What mends a profile's gateway must name the profile.
function inProfile(fix: string, profile: string | undefined): string {
  return profile === undefined ? fix : fix.replace(/^openclaw (?!--profile)/, `openclaw --profile ${profile} `)
}
