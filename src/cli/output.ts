import type { Io } from './io.ts'

/** The accents of human output; each is plain text when colour is off. */
export interface Style {
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  green(text: string): string
  yellow(text: string): string
}

/** The style for an output. */
export function styleOf(io: Pick<Io, 'color'>): Style {
  const wrap = (open: number, close: number) => (text: string) =>
    io.color ? `\u001b[${open}m${text}\u001b[${close}m` : text
  return { bold: wrap(1, 22), dim: wrap(2, 22), red: wrap(31, 39), green: wrap(32, 39), yellow: wrap(33, 39) }
}

/** Text that came from elsewhere, safe for a terminal: control characters escaped. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this removes
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
}

/** Prints labelled lines, values aligned; rows without a value are left out. */
export function printRows(io: Io, rows: readonly (readonly [label: string, value: string | undefined])[]): void {
  const style = styleOf(io)
  const shown = rows.filter((row): row is readonly [string, string] => row[1] !== undefined)
  const width = Math.max(0, ...shown.map(([label]) => label.length))
  for (const [label, value] of shown) io.stdout(`${style.dim(label.padEnd(width))}  ${printable(value)}`)
}

/** Prints one JSON document. */
export function printJson(io: Io, value: unknown): void {
  io.stdout(jsonText(value, 2))
}

/** JSON that is safe for a terminal as well: of the control characters, JSON itself escapes only the first 32. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(/[\u007f-\u009f]/g, (char) => {
    return `\\u00${char.charCodeAt(0).toString(16)}`
  })
}

/** A duration in words: `3d 4h`, `12m 5s`, `1.2s`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1).replace(/\.0$/, '')}s`
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1]
  ]
  let seconds = Math.floor(ms / 1000)
  const parts: string[] = []
  for (const [unit, size] of units) {
    const count = Math.floor(seconds / size)
    seconds -= count * size
    if (count > 0) parts.push(`${count}${unit}`)
    if (parts.length === 2) break
  }
  return parts.join(' ')
}

/** A size in words: `48 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024 * 1024) return `${Math.ceil(bytes / 1024)} KB`
  return `${Math.round(bytes / 1024 / 1024)} MB`
}

/** Runs work; on a terminal a line says what is going on (now, where that changes) once it has taken a second. */
export async function withProgress<T>(io: Io, text: string | (() => string), work: Promise<T>): Promise<T> {
  if (!io.isTTY) return work
  let shown = false
  const started = Date.now()
  const draw = (): void => {
    shown = true
    process.stderr.write(
      `\r\u001b[K${typeof text === 'string' ? text : text()} … ${Math.round((Date.now() - started) / 1000)}s`
    )
  }
  const timer = setInterval(draw, 1000)
  timer.unref()
  try {
    return await work
  } finally {
    clearInterval(timer)
    if (shown) process.stderr.write('\r\u001b[K')
  }
}
