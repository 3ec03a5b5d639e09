import { type Command, Option } from 'commander'
import type { AuthMode, BindMode } from '../../config/types.ts'
import { parseDuration } from '../duration.ts'
import { parseTimeout } from '../gateway-call.ts'
import { CliError } from '../io.ts'
import { parsePort } from '../ports.ts'
import { readSecret } from '../read-secret.ts'

const TIMEOUT_MS = 15_000
const WAIT = '5m'

/** The options of `openclaw setup`, as they were typed. */
export interface SetupWords {
  mode?: 'local' | 'remote'
  remote?: string
  remoteUrl?: string
  setupCode?: string
  token?: string
  password?: string
  remoteToken?: string
  remotePassword?: string
  gatewayToken?: string
  gatewayPassword?: string
  tokenFile?: string
  passwordFile?: string
  gatewayTokenRefEnv?: string
  tlsFingerprint?: string
  sshIdentity?: string
  remotePort?: string
  gatewayPort?: string
  gatewayBind?: BindMode
  gatewayAuth?: AuthMode
  tailscale?: 'off' | 'serve' | 'funnel'
  installDaemon?: boolean
  skipDaemon?: boolean
  start?: boolean
  verify: boolean
  skipHealth?: boolean
  force?: boolean
  wait: string
  timeout?: string
  nonInteractive?: boolean
  json?: boolean
}

/** A secret to store: its text, or the environment variable that holds it. */
export type Secret = { token: string } | { password: string } | { tokenEnv: string }

/** The options, checked. */
export interface SetupFlags {
  mode: 'local' | 'remote' | undefined
  /** Where the gateway is: an address, or a setup code. */
  remote: string | undefined
  secret: Secret | undefined
  tlsFingerprint: string | undefined
  sshIdentity: string | undefined
  remotePort: number | undefined
  port: number | undefined
  bind: BindMode | undefined
  auth: AuthMode | undefined
  tailscale: 'off' | 'serve' | 'funnel' | undefined
  /** How the gateway of this host comes to run; undefined: it must run already. */
  run: 'service' | 'background' | 'later' | undefined
  /** Whether what was set up is tried: always, or written all the same when it fails, or not at all. */
  verify: 'yes' | 'force' | 'no'
  waitMs: number
  timeoutMs: number
}

const LOCAL = 'Gateway of this host:'
const REMOTE = 'Gateway elsewhere:'

// What the reference's first run has, and this one has not.
const SKIPPED = ['bootstrap', 'channels', 'hooks', 'search', 'skills', 'ui']

/** Adds the options of `openclaw setup`. */
export function addSetupFlags(command: Command): Command {
  const hidden = (flags: string, what: string) => new Option(flags, what).hideHelp()
  for (const what of SKIPPED) command.addOption(hidden(`--skip-${what}`, 'Accepted for scripts; there is none'))
  return command
    .addOption(new Option('--mode <mode>', 'Whether the gateway is on this host').choices(['local', 'remote']))
    .optionsGroup(LOCAL)
    .option('--gateway-port <port>', 'The port that it listens on')
    .addOption(
      new Option('--gateway-bind <mode>', 'Where it listens; beyond loopback it needs a secret').choices([
        'loopback',
        'lan',
        'tailnet',
        'auto',
        'custom'
      ])
    )
    .addOption(
      new Option('--gateway-auth <mode>', 'How clients prove themselves').choices([
        'token',
        'password',
        'trusted-proxy',
        'none'
      ])
    )
    .option('--gateway-token-ref-env <name>', 'Keep the token in this environment variable, not in the file')
    .addOption(new Option('--tailscale <mode>', 'Expose it through Tailscale').choices(['off', 'serve', 'funnel']))
    .option('--install-daemon', 'Install it as a service of this user, and start it')
    .option('--start', 'Start it in the background, until it is stopped or the host restarts')
    .option('--skip-daemon', 'Leave it stopped when it does not run')
    .optionsGroup(REMOTE)
    .option(
      '--remote <address>',
      'ssh://user@host[:port], wss://host[:port], ws:// in a private network, or a setup code'
    )
    .option('--setup-code <code>', 'A setup code of "openclaw qr" on its host; - reads it from standard input')
    .option('--tls-fingerprint <pin>', 'SHA-256 of the certificate that a wss:// gateway must show')
    .option('--ssh-identity <path>', 'The private key to log in with')
    .option('--remote-port <port>', "The gateway's port on the host of ssh:// (default: 18789)")
    .option('--wait <time>', 'How long to wait until its owner lets this host in', WAIT)
    .optionsGroup('Secret:')
    .option('--token-file <path>', 'Read the token from a file; - reads it from standard input')
    .option('--password-file <path>', 'Read the password from a file; - reads it from standard input')
    .option('--token <token>', 'The token; other users of this machine can read arguments')
    .option('--password <password>', 'The password; the same holds')
    .optionsGroup('Options:')
    .option('--no-verify', 'Write it without a connection to the gateway first')
    .option('--force', 'Write it though the connection fails')
    .option('--timeout <ms>', 'How long to wait for an answer, in milliseconds', String(TIMEOUT_MS))
    .option('--non-interactive', 'Ask nothing')
    .option('--json', 'Ask nothing, and print JSON')
    .addOption(hidden('--remote-url <address>', 'The same as --remote'))
    .addOption(hidden('--remote-token <token>', 'The same as --token'))
    .addOption(hidden('--remote-password <password>', 'The same as --password'))
    .addOption(hidden('--gateway-token <token>', 'The same as --token'))
    .addOption(hidden('--gateway-password <password>', 'The same as --password'))
    .addOption(hidden('--no-install-daemon', 'The same as --skip-daemon'))
    .addOption(hidden('--skip-health', 'The same as --no-verify'))
    .addOption(hidden('--accept-risk', 'Accepted for scripts; nothing here asks'))
}

/** Checks the options; throws a CliError for those that contradict each other. */
export function parseSetupFlags(words: SetupWords): SetupFlags {
  const remote = one({ '--remote': words.remote, '--remote-url': words.remoteUrl, '--setup-code': words.setupCode })
  const local = Object.entries({
    '--gateway-port': words.gatewayPort,
    '--gateway-bind': words.gatewayBind,
    '--gateway-auth': words.gatewayAuth,
    '--gateway-token-ref-env': words.gatewayTokenRefEnv,
    '--gateway-token': words.gatewayToken,
    '--gateway-password': words.gatewayPassword,
    '--tailscale': words.tailscale,
    '--install-daemon': words.installDaemon,
    '--start': words.start
  }).filter(([, value]) => value !== undefined)
  const elsewhere = Object.entries({
    '--remote': remote,
    '--remote-token': words.remoteToken,
    '--remote-password': words.remotePassword,
    '--tls-fingerprint': words.tlsFingerprint,
    '--ssh-identity': words.sshIdentity,
    '--remote-port': words.remotePort
  }).filter(([, value]) => value !== undefined)
  const mode = words.mode ?? (remote !== undefined ? 'remote' : local.length > 0 ? 'local' : undefined)
  const misplaced = mode === 'remote' ? local : mode === 'local' ? elsewhere : []
  if (misplaced[0] !== undefined) {
    const whose = mode === 'remote' ? 'the gateway of this host' : 'a gateway elsewhere'
    throw new CliError('USAGE', `${misplaced[0][0]} is for ${whose}, and the other one is set up`, {
      fix: 'openclaw setup --help'
    })
  }
  return {
    mode,
    remote: words.setupCode === '-' ? readSecret('-', '--setup-code') : remote,
    secret: secretOf(words),
    tlsFingerprint: words.tlsFingerprint,
    sshIdentity: words.sshIdentity,
    remotePort: words.remotePort === undefined ? undefined : parsePort(words.remotePort, '--remote-port'),
    port: words.gatewayPort === undefined ? undefined : parsePort(words.gatewayPort, '--gateway-port'),
    bind: words.gatewayBind,
    auth: words.gatewayAuth,
    tailscale: words.tailscale,
    run: runOf(words),
    verify: !words.verify || words.skipHealth === true ? 'no' : words.force === true ? 'force' : 'yes',
    waitMs: parseDuration(words.wait, '--wait'),
    timeoutMs: parseTimeout(words.timeout, TIMEOUT_MS)
  }
}

function runOf({ installDaemon, start, skipDaemon }: SetupWords): SetupFlags['run'] {
  if (installDaemon === true) return 'service'
  if (start === true) return 'background'
  return skipDaemon === true || installDaemon === false ? 'later' : undefined
}

function secretOf(words: SetupWords): Secret | undefined {
  const { token, password, gatewayTokenRefEnv: tokenEnv } = words
  const given = {
    '--token': token ?? words.remoteToken ?? words.gatewayToken,
    '--password': password ?? words.remotePassword ?? words.gatewayPassword,
    '--token-file': words.tokenFile,
    '--password-file': words.passwordFile,
    '--gateway-token-ref-env': tokenEnv
  }
  const flag = Object.entries(given).find(([, value]) => value !== undefined)?.[0]
  const value = one(given)
  if (flag === undefined || value === undefined) return undefined
  if (value.trim() === '') throw new CliError('USAGE', `${flag} is empty.`)
  if (flag === '--gateway-token-ref-env') return { tokenEnv: value }
  const text = flag.endsWith('-file') ? readSecret(value, flag) : value
  return flag.startsWith('--token') ? { token: text } : { password: text }
}

// One of several ways to say the same.
function one(ways: Record<string, string | undefined>): string | undefined {
  const given = Object.entries(ways).filter((way): way is [string, string] => way[1] !== undefined)
  if (given.length < 2) return given[0]?.[1]
  throw new CliError('USAGE', `Use one of ${given.map(([flag]) => flag).join(' and ')}, not both.`)
}
