import { platform } from 'node:os'
import type { Command } from 'commander'
import type { Connection, ConnectOptions } from '../client/connect.ts'
import type { Purpose } from '../client/credentials.ts'
import { withDotenv } from '../config/env.ts'
import { resolvePaths } from '../config/paths.ts'
import type { Paths } from '../config/types.ts'
import { VERSION } from '../package.ts'
import type { Scope } from '../protocol/scopes.ts'
import { CliError, type Io } from './io.ts'
import { withProgress } from './output.ts'
import { parsePort } from './ports.ts'

/** The options that every command which talks to a gateway may take. */
export interface TargetOptions {
  url?: string
  port?: string
  token?: string
  password?: string
  tlsFingerprint?: string
  expectUrl?: string
  timeout?: string
  json?: boolean
}

/**
 * Adds `--url`, `--port`, `--token`, `--password`, `--tls-fingerprint`, `--expect-url`, `--timeout` and `--json` to a
 * command (R21); without a time, the command has a `--timeout` of its own.
 */
export function addTargetOptions(command: Command, timeoutMs?: number): Command {
  if (timeoutMs !== undefined) {
    command.option('--timeout <ms>', 'How long to wait, in milliseconds', String(timeoutMs))
  }
  return command
    .option('--url <url>', 'Gateway WebSocket URL; needs --token or --password beside it')
    .option('--port <port>', 'A gateway on this host, by its port')
    .option('--token <token>', 'Gateway token')
    .option('--password <password>', 'Gateway password')
    .option('--tls-fingerprint <pin>', 'SHA-256 of the certificate that a wss:// gateway must show')
    .option('--expect-url <url>', 'Refuse unless the gateway comes to be at this URL')
    .option('--json', 'Print JSON')
}

/** Parses `--timeout`. */
export function parseTimeout(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback
  const ms = Number(text)
  if (/^\d+$/.test(text) && ms >= 1 && ms <= 2_147_483_647) return ms
  throw new CliError('USAGE', 'Invalid --timeout. Use a number of milliseconds, for example 10000.')
}

/** The places of this profile, and the environment with what its `.env` adds. */
export function placesOf(io: Io): { paths: Paths; env: Readonly<Record<string, string | undefined>> } {
  const paths = resolvePaths(io.env, { profile: io.profile, dev: io.dev })
  return { paths, env: withDotenv(io.env, paths.stateDir) }
}

/** Connects to the gateway that flags, environment and file name, runs the work, and hangs up. */
export async function withGateway<T>(
  io: Io,
  options: TargetOptions,
  wants: {
    scopes: readonly Scope[]
    purpose?: Purpose
    timeoutMs: number
    mode?: 'local' | 'remote'
    ssh?: ConnectOptions['ssh']
    onEvent?: ConnectOptions['onEvent']
    config?: ConnectOptions['config']
    bootstrapToken?: ConnectOptions['bootstrapToken']
    /** Waits within the time while the gateway is starting; default: unless it is only looked at. */
    waits?: boolean
    /** Hears of what does not stop the connection; default: it is written to standard error. */
    onWarning?: (text: string) => void
    /** Shows no progress: the work has output of its own. */
    silent?: boolean
  },
  work: (connection: Connection) => Promise<T>
): Promise<T> {
  const { paths, env } = placesOf(io)
  const connectOptions: ConnectOptions = {
    env,
    paths,
    client: { id: 'cli', mode: 'cli', version: VERSION, platform: platform() },
    scopes: wants.scopes,
    purpose: wants.purpose ?? 'call',
    url: options.url,
    port: options.port === undefined ? undefined : parsePort(options.port),
    token: options.token,
    password: options.password,
    tlsFingerprint: options.tlsFingerprint,
    expectUrl: options.expectUrl,
    mode: wants.mode,
    ssh: wants.ssh,
    config: wants.config,
    bootstrapToken: wants.bootstrapToken,
    timeoutMs: wants.timeoutMs,
    ...(wants.onEvent === undefined ? {} : { onEvent: wants.onEvent }),
    onWarning: wants.onWarning ?? ((text) => io.stderr(`warning: ${text}`))
  }
  // Here and not above: help, `gateway run` and mistakes need no WebSocket.
  const { connectPatiently } = await import('./start-up.ts')
  const waits = wants.waits ?? connectOptions.purpose === 'call'
  let doing = 'Waiting for the gateway'
  const patience = {
    patienceMs: waits ? wants.timeoutMs : 0,
    onWait() {
      doing = 'The gateway is starting'
    }
  }
  const run = async (): Promise<T> => {
    const connection = await connectPatiently(io, connectOptions, patience)
    try {
      return await work(connection)
    } finally {
      connection.client.close()
    }
  }
  try {
    return await (wants.silent === true ? run() : withProgress(io, () => doing, run()))
  } catch (error) {
    const { explain } = await import('./explain.ts')
    throw explain(error)
  }
}
