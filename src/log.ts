import { chmodSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import pino, { type Logger, type StreamEntry } from 'pino'

const MAX_BYTES = 10 * 1024 * 1024

/** A log, and the file that `logs.tail` reads. */
export interface GatewayLog {
  log: Logger
  file: string
  /** Writes out what is buffered. */
  flush(): void
}

/**
 * Logs JSON lines to a bounded file in the state folder, and to the terminal: readable on a TTY, JSON elsewhere, or
 * nothing where the process speaks for itself. Secrets are removed by key, in one place.
 */
export async function openLog(options: {
  stateDir: string
  level: string
  /** Undefined: the file alone. */
  tty: boolean | undefined
  name?: 'gateway' | 'node'
}): Promise<GatewayLog> {
  const file = join(options.stateDir, 'logs', `${options.name ?? 'gateway'}.log`)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const disk = openDisk(file)
  const streams: StreamEntry[] = [{ stream: disk, level: 'trace' }]
  if (options.tty !== undefined) {
    const terminal = options.tty ? await pretty() : pino.destination({ fd: 1, sync: true })
    streams.push({ stream: terminal, level: 'trace' })
  }
  const log = pino(
    {
      level: options.level,
      messageKey: 'message',
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label, _meta: { logLevelName: label.toUpperCase() } }) },
      redact: { paths: redacted, censor: '[redacted]' },
      serializers: { err: withoutPacket }
    },
    pino.multistream(streams)
  )
  return { log, file, flush: () => disk.flushSync() }
}

const secretKeys = ['token', 'password', 'secret', 'authorization', 'deviceToken', 'bootstrapToken', 'apiKey', 'cookie']
const redacted = secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`])

async function pretty() {
  const { default: build } = await import('pino-pretty')
  return build({ colorize: true, messageKey: 'message', ignore: '_meta', translateTime: 'SYS:HH:MM:ss', sync: true })
}

// One old file is kept: two bounded files, however long the gateway runs.
function openDisk(file: string) {
  let bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  const disk = pino.destination({ dest: file, sync: true, mode: 0o600 })
  chmodSync(file, 0o600)
  return {
    write(line: string): void {
      disk.write(line)
      bytes += Buffer.byteLength(line)
      if (bytes <= MAX_BYTES) return
      disk.flushSync()
      renameSync(file, `${file}.1`)
      disk.reopen(file)
      bytes = 0
    },
    flushSync: () => disk.flushSync()
  }
}

// A request that could not be parsed comes along with its error, credentials and all.
function withoutPacket(error: Error): unknown {
  const { rawPacket: _dropped, ...rest } = pino.stdSerializers.err(error)
  return rest
}
