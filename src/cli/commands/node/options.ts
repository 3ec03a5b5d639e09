import type { Command } from 'commander'
import { parsePins } from '../../../client/tls-pin.ts'
import type { SetupCode } from '../../../node-host/setup-code.ts'
import type { GatewayFlags } from '../../../node-host/target.ts'
import { CliError } from '../../io.ts'
import { parsePort } from '../../ports.ts'

/** The options of `node run` that `node install` hands on to it. */
export interface NodeOptions {
  host?: string
  port?: string
  contextPath?: string
  tls?: boolean
  tlsFingerprint?: string
  nodeId?: string
  displayName?: string
  pair?: string
}

/** Adds the options of `node run`. */
export function addNodeOptions(command: Command): Command {
  return command
    .option('--host <host>', 'Host of the gateway (default: the configured gateway)')
    .option('--port <port>', 'Port of the gateway (default: 18789)')
    .option('--context-path <path>', 'Path of the gateway behind a proxy, such as /openclaw')
    .option('--tls', 'Connect with TLS')
    .option('--no-tls', 'Connect without TLS, though the gateway of this host has it')
    .option('--tls-fingerprint <pin>', 'SHA-256 of the only certificate to accept, or of its key')
    .option(
      '--node-id <id>',
      'Name of this installation in connections; kept (the pairing is by key, see "node identity")'
    )
    .option('--pair <code>', 'A setup code or join link to pair with first; - reads it from standard input')
    .option('--display-name <name>', "Name of this node for people; kept (default: the host's)")
}

/** Checks the options, and says which gateway they name. */
export function gatewayFlags(options: NodeOptions): GatewayFlags {
  const { host, port, contextPath, tls, tlsFingerprint } = options
  if (options.pair !== undefined && [host, port, contextPath, tls].some((each) => each !== undefined)) {
    throw new CliError(
      'USAGE',
      'a setup code says where the gateway is; leave --host, --port, --context-path and --tls out'
    )
  }
  // As the connection will read it.
  if (tlsFingerprint !== undefined) parsePins(tlsFingerprint, '--tls-fingerprint')
  if (tls === false && tlsFingerprint !== undefined) {
    throw new CliError('USAGE', 'Use either --no-tls or --tls-fingerprint, not both.')
  }
  for (const [flag, value] of Object.entries({
    '--host': host,
    '--node-id': options.nodeId,
    '--display-name': options.displayName
  })) {
    if (value !== undefined && (value.trim() === '' || value.length > 200 || /\p{Cc}/u.test(value))) {
      throw new CliError('USAGE', `Invalid ${flag}. Use 1 to 200 printable characters.`)
    }
  }
  return {
    host: host?.trim(),
    port: port === undefined ? undefined : parsePort(port),
    contextPath,
    tls,
    tlsFingerprint: tlsFingerprint?.trim()
  }
}

/** The words that repeat the options on another command line. */
export function optionWords(options: NodeOptions): string[] {
  const { host, port, contextPath, tls, tlsFingerprint, nodeId, displayName } = options
  const values = {
    '--host': host,
    '--port': port,
    '--context-path': contextPath,
    '--tls-fingerprint': tlsFingerprint,
    '--node-id': nodeId,
    '--display-name': displayName
  }
  // With a sign, so that no value is taken for an option.
  const words = Object.entries(values).flatMap(([flag, value]) => (value === undefined ? [] : [`${flag}=${value}`]))
  return tls === undefined ? words : [...words, tls ? '--tls' : '--no-tls']
}

/** Reads what `--pair` names, from standard input where it says so. */
export async function setupCodeOf({ pair }: NodeOptions): Promise<SetupCode | undefined> {
  if (pair === undefined) return undefined
  const { text } = await import('node:stream/consumers')
  const { readSetupCode } = await import('../../../node-host/setup-code.ts')
  return readSetupCode(pair === '-' ? await text(process.stdin) : pair)
}
