import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { findSsh, settingsArguments, sshEnvironment } from './command.ts'
import { sshMissing } from './failure.ts'
import type { SshTarget } from './route.ts'

/** What the user's ssh configuration makes of a host. */
export interface SshSettings {
  hostName: string
  user: string
  port: number
  /** How ssh comes there, when not directly. */
  proxyJump: string | undefined
  /** The command that brings it there instead. */
  proxyCommand: string | undefined
  /** The ports that it forwards by itself: `18789 [127.0.0.1]:18789`. */
  localForwards: readonly string[]
}

/** Asks ssh for its settings for a host; rejects with a ClientError where there is no ssh. */
export async function sshSettings(
  target: SshTarget,
  env: Readonly<Record<string, string | undefined>>
): Promise<SshSettings> {
  const program = findSsh()
  if (program === undefined) throw sshMissing()
  const options = { env: sshEnvironment(env), timeout: 10_000 }
  const { stdout } = await promisify(execFile)(program, settingsArguments({ target }), options)
  const all = (name: string) => [...stdout.matchAll(new RegExp(`^${name} (.*)$`, 'gm'))].map((match) => match[1]!)
  return {
    hostName: all('hostname')[0] ?? target.host,
    user: all('user')[0] ?? '',
    port: Number(all('port')[0] ?? 22),
    proxyJump: all('proxyjump').find((value) => value !== 'none'),
    proxyCommand: all('proxycommand').find((value) => value !== 'none'),
    localForwards: all('localforward')
  }
}

/** Reports whether the configuration opens this very tunnel by itself. */
export function opensItself({ localForwards }: SshSettings, localPort: number, remotePort: number): boolean {
  const local = [`${localPort}`, `[127.0.0.1]:${localPort}`, `[localhost]:${localPort}`]
  const remote = [`[127.0.0.1]:${remotePort}`, `[localhost]:${remotePort}`]
  return local.some((from) => remote.some((to) => localForwards.includes(`${from} ${to}`)))
}
