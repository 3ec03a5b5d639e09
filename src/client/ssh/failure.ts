import { ClientError, type ClientErrorCode } from '../errors.ts'
import { describeTarget, type SshRoute, sshDestination } from './route.ts'

/** How a process of ssh ended. */
export interface SshEnd {
  stderr: string
  code: number | null
  signal: string | null
}

interface Rule {
  code: ClientErrorCode
  /** What ssh prints; the line is quoted. */
  says: RegExp
  means(route: SshRoute): string
  fix(route: SshRoute, stderr: string): string
}

// The first that fits: what ssh says later is often only the consequence.
const RULES: readonly Rule[] = [
  {
    code: 'SSH_HOST_KEY_CHANGED',
    says: /^Host key for .* has changed.*|REMOTE HOST IDENTIFICATION HAS CHANGED/m,
    means: (route) => `${describeTarget(route.target)} shows another host key than before`,
    fix: (route, stderr) => {
      const seen = /^(SHA256:[A-Za-z0-9+/]+)\.?$/m.exec(stderr)?.[1]
      return `nothing was sent; only when ${seen ?? 'its fingerprint'} is what "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" (or the key of that kind) prints on that host: ssh-keygen -R ${knownName(route)}`
    }
  },
  {
    code: 'SSH_HOST_KEY_UNKNOWN',
    says: /^No .* host key is known for .*|^Host key verification failed\./m,
    means: (route) => `the host key of ${describeTarget(route.target)} is not known here`,
    fix: (route) => `log in once by hand, and compare the fingerprint before you say yes: ${login(route)}`
  },
  {
    code: 'SSH_IDENTITY',
    says: /^(?:Warning: )?Identity file .* not accessible.*|^Permissions .* for .* are too open\.|^Load key .*/m,
    means: (route) => `the key ${route.identity ?? 'of the ssh configuration'} cannot be used`,
    fix: (route) =>
      route.identity === undefined
        ? `check the IdentityFile of this host: ${login(route)}`
        : `chmod 600 ${word(route.identity)}, or set gateway.remote.sshIdentity to the right file`
  },
  {
    code: 'SSH_DENIED',
    says: /^.*Permission denied \(.*|^.*Too many authentication failures.*|^.*No supported authentication methods.*/m,
    means: (route) => `${describeTarget(route.target)} does not accept the key, and without a terminal nobody is asked`,
    fix: (route) => {
      const identity = route.identity === undefined ? '' : `-i ${word(route.identity)} `
      return `ssh-copy-id ${identity}${portOption(route)}${word(sshDestination(route.target))}; a key with a passphrase: ssh-add`
    }
  },
  {
    code: 'SSH_FORWARDING_REFUSED',
    says: /^.*administratively prohibited.*|^.*(?:forwarding|open) (?:is )?(?:disabled|not permitted).*/m,
    means: (route) => `${describeTarget(route.target)} does not forward to 127.0.0.1:${route.remotePort}`,
    fix: (route) =>
      `allow it in /etc/ssh/sshd_config of that host (AllowTcpForwarding local, PermitOpen 127.0.0.1:${route.remotePort}; "restrict" in authorized_keys needs "port-forwarding" beside it), and reload sshd`
  },
  {
    code: 'SSH_GATEWAY_DOWN',
    says: /^.*open failed: connect failed.*/m,
    means: (route) => `no gateway answers on 127.0.0.1:${route.remotePort} of ${describeTarget(route.target)}`,
    fix: () =>
      'openclaw gateway run (on the gateway host); another port: openclaw config set gateway.remote.remotePort PORT'
  },
  {
    code: 'SSH_PORT_TAKEN',
    says: /^bind .*: Address already in use|^.*cannot listen to port.*|^Could not request local forwarding\./m,
    means: () => 'the local end of the tunnel is taken',
    fix: () => 'see who listens there: openclaw doctor'
  },
  {
    code: 'SSH_UNREACHABLE',
    says: /^ssh: Could not resolve hostname .*/m,
    means: (route) => `the host ${route.target.host} is not found`,
    fix: () => 'openclaw config set gateway.remote.sshTarget user@gateway-host'
  },
  {
    code: 'SSH_UNREACHABLE',
    says: /^ssh: connect to host .*|^Connection timed out.*|^kex_exchange_identification: .*|^ssh_exchange_identification: .*|^Connection (?:closed|reset) .*|^(?:Timeout, server|client_loop: send disconnect|ssh_dispatch_run_fatal).*|^Connection to .* (?:timed out|closed).*/m,
    means: (route) => `${describeTarget(route.target)} is not reached`,
    fix: (route) => `check the connection itself: ${login(route)}`
  }
]

/** What the end of ssh means, in its own words and with what to do. */
export function sshFailure({ stderr, code, signal }: SshEnd, route: SshRoute): ClientError {
  for (const rule of RULES) {
    const said = rule.says.exec(stderr)?.[0].trim()
    if (said === undefined) continue
    return new ClientError(rule.code, `${rule.means(route)} (ssh: ${short(said)})`, { fix: rule.fix(route, stderr) })
  }
  // Whoever is killed has no last word.
  const last = signal === null ? (stderr.trim().split('\n').at(-1) ?? '') : ''
  const how = signal === null ? `ssh ended with ${code}` : `ssh was ended by ${signal}`
  const message = `${describeTarget(route.target)}: ${how}${last === '' ? '' : `: ${short(last)}`}`
  return new ClientError('SSH_FAILED', message, { fix: `check the connection itself: ${login(route)}` })
}

/** There is no ssh on this host. */
export function sshMissing(): ClientError {
  return new ClientError('SSH_MISSING', 'this host has no ssh in the folders of the system', {
    fix: 'install it: sudo apt-get install openssh-client'
  })
}

function short(text: string): string {
  return text.replace(/^ssh: /, '').slice(0, 300)
}

function login(route: SshRoute): string {
  return `ssh ${portOption(route)}${word(sshDestination(route.target))}`
}

function portOption({ target }: SshRoute): string {
  return target.port === undefined ? '' : `-p ${target.port} `
}

// How known_hosts names a host.
function knownName({ target: { host, port } }: SshRoute): string {
  return word(port === undefined || port === 22 ? host : `[${host}]:${port}`)
}

function word(text: string): string {
  return /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
