import { printable, type Style } from '../output.ts'

/** The levels of a log, the least first. */
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/** One line of a log, taken apart. */
export interface LogLine {
  time: string | undefined
  level: string | undefined
  subsystem: string | undefined
  message: string
  /** What else it says. */
  fields: Readonly<Record<string, unknown>>
  raw: string
}

/** Takes a line apart; one that is not of a log's form is its own message. */
export function parseLine(raw: string): LogLine {
  const nothing = { time: undefined, level: undefined, subsystem: undefined, message: raw, fields: {}, raw }
  let value: unknown
  try {
    value = JSON.parse(raw)
  } catch {
    return nothing
  }
  if (typeof value !== 'object' || value === null || !('message' in value)) return nothing
  const { message, time, level, _meta, ...fields } = value as Record<string, unknown>
  const { logLevelName, name } = (_meta ?? {}) as { logLevelName?: unknown; name?: unknown }
  return {
    time: text(time),
    level: text(level) ?? text(logLevelName)?.toLowerCase(),
    subsystem: /"subsystem":"([^"]+)"/.exec(text(name) ?? '')?.[1],
    message: text(message) ?? JSON.stringify(message),
    // What the reference writes under numbers says its message again.
    fields: '0' in fields ? {} : fields,
    raw
  }
}

/** Reports whether a line is at least of a level; one that names none is. */
export function isAtLeast({ level }: LogLine, least: string | undefined): boolean {
  if (least === undefined || level === undefined) return true
  return LEVELS.indexOf(level as never) >= LEVELS.indexOf(least as never)
}

/** A line as a person reads it. */
export function lineText(line: LogLine, style: Style, utc: boolean): string {
  const { level = '', subsystem } = line
  const paint = level === 'warn' ? style.yellow : level === 'error' || level === 'fatal' ? style.red : String
  const more = Object.entries(line.fields).map(([key, value]) => `${key}=${fieldText(value)}`)
  return [
    line.time === undefined ? '' : style.dim(moment(line.time, utc)),
    paint(flat(level).padEnd(5)),
    subsystem === undefined ? '' : style.dim(`[${flat(subsystem)}]`),
    flat(line.message),
    more.length === 0 ? '' : style.dim(flat(more.join(' ')))
  ]
    .filter((part) => part.trim() !== '')
    .join(' ')
}

// A line stays one line: a second one would look like another of the log.
function flat(text: string): string {
  return printable(text).replaceAll('\n', '\\n')
}

function fieldText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  const { message, ...rest } = value as { message?: unknown }
  // An error: where it came from stands in the line itself, for whoever asks with --json.
  return 'stack' in rest && typeof message === 'string' ? JSON.stringify(message) : JSON.stringify(value)
}

function moment(time: string, utc: boolean): string {
  const at = new Date(time)
  if (Number.isNaN(at.getTime())) return flat(time)
  if (utc) return at.toISOString()
  const minutes = -at.getTimezoneOffset()
  const local = new Date(at.getTime() + minutes * 60_000).toISOString().slice(0, -1)
  const pad = (part: number) => String(part).padStart(2, '0')
  const offset = Math.abs(minutes)
  return `${local}${minutes < 0 ? '-' : '+'}${pad(Math.floor(offset / 60))}:${pad(offset % 60)}`
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
