import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { type SshRoute, sshDestination } from './route.ts'

// Folders that only the system's administrator writes to: no folder of a project, nor PATH, decides what gets the keys.
const FOLDERS = ['/usr/bin', '/bin', '/usr/local/bin', '/run/current-system/sw/bin']

/** The system's ssh; undefined where there is none. */
export function findSsh(folders: readonly string[] = FOLDERS): string | undefined {
  return folders
    .map((folder) => join(folder, 'ssh'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** The arguments that make standard input and output one connection to the gateway. */
export function streamArguments(route: SshRoute, connectSeconds: number): string[] {
  const options = ['-o', `ConnectTimeout=${connectSeconds}`, ...commonOptions(route)]
  return [...options, '-W', `127.0.0.1:${route.remotePort}`, '--', sshDestination(route.target)]
}

/**
 * The arguments that keep a port of this host's loopback open to the gateway. Without `opens`, the user's ssh configuration
 * opens that port by itself, and to ask for it twice would fail.
 */
export function forwardArguments(route: SshRoute, localPort: number, opens: boolean): string[] {
  const forward = opens ? ['-L', `127.0.0.1:${localPort}:127.0.0.1:${route.remotePort}`] : []
  // At this level ssh says when the port is open, and why a connection through it came to nothing.
  const options = ['-o', 'LogLevel=DEBUG1', '-o', 'ConnectTimeout=15', ...commonOptions(route)]
  return ['-N', ...options, ...forward, '--', sshDestination(route.target)]
}

/** The arguments with which ssh prints what its configuration says of a host, and connects to nothing. */
export function settingsArguments({ target }: Pick<SshRoute, 'target'>): string[] {
  return ['-G', ...(target.port === undefined ? [] : ['-p', String(target.port)]), '--', sshDestination(target)]
}

/**
 * The arguments with which ssh shows the key of a host and goes no further: no way to log in is allowed. With `remember`, it
 * keeps the key of a host that it does not know yet; one that has changed it never takes.
 */
export function hostKeyArguments(route: SshRoute, remember: boolean): string[] {
  const options = ['-o', 'LogLevel=DEBUG1', '-o', 'ConnectTimeout=15', '-o', 'PreferredAuthentications=none']
  const keep = remember ? ['-o', 'StrictHostKeyChecking=accept-new'] : ['-o', 'StrictHostKeyChecking=yes']
  return ['-N', ...options, ...keep, ...commonOptions(route), '--', sshDestination(route.target)]
}

function commonOptions({ target, identity, hostKeyPolicy }: SshRoute): string[] {
  return [
    // Nobody is there to answer a question.
    ...['-o', 'BatchMode=yes', '-o', 'ExitOnForwardFailure=yes'],
    ...['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=3'],
    // What ssh says is read when it fails; what a LocalCommand says would stand in the middle of the connection.
    ...['-o', 'LogLevel=INFO', '-o', 'PermitLocalCommand=no'],
    // A master would stay behind, and hold the forwarding instead of the process that is ended with it.
    ...['-o', 'ControlMaster=no', '-o', 'ControlPath=none'],
    ...(hostKeyPolicy === 'strict' ? ['-o', 'StrictHostKeyChecking=yes'] : []),
    ...(identity === undefined ? [] : ['-i', identity, '-o', 'IdentitiesOnly=yes']),
    ...(target.port === undefined ? [] : ['-p', String(target.port)])
  ]
}

/** The environment for ssh: the user's own, without what is meant for this program. */
export function sshEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('OPENCLAW_')))
}
