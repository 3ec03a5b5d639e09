import { existsSync, readFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { findSsh } from '../../client/ssh/command.ts'
import { sshMissing } from '../../client/ssh/failure.ts'
import { sshSettings } from '../../client/ssh/settings.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { askTool, runTool } from '../service/run-tool.ts'
import { type ServiceManager, type ServiceName, type ServiceSpec, serviceManager } from '../service/service.ts'
import { tunnelPlist } from './plist.ts'
import { hasForeignEntry, type SshEntry } from './ssh-config.ts'
import type { TunnelTarget } from './target.ts'

/** The service that keeps the tunnel of a profile up, and the host of the ssh configuration that it names. */
export interface TunnelService {
  manager: ServiceManager
  name: ServiceName
  /** Its name to the system: `ai.openclaw.ssh-tunnel`. */
  label: string
  alias: string
  /** The user's ssh configuration; ssh takes it from the account, whatever HOME says. */
  configPath: string
}

/** What is written for a tunnel. */
export interface TunnelPlan {
  spec: ServiceSpec
  /** Undefined where the user's own entry stays. */
  entry: SshEntry | undefined
}

/** The tunnel's service of this profile. */
export async function tunnelService(io: Io, system?: string): Promise<TunnelService> {
  const { profile } = placesOf(io).paths
  const manager = await serviceManager(io.env, 'openclaw tunnel up', system)
  const name = { kind: 'ssh-tunnel', profile }
  return {
    manager,
    name,
    label: (await manager.status(name)).name,
    alias: `remote-gateway${profile === undefined ? '' : `-${profile}`}`,
    configPath: join(userInfo().homedir, '.ssh/config')
  }
}

/** What would be written to keep a tunnel up; nothing is written or connected to. */
export async function planTunnel(io: Io, service: TunnelService, target: TunnelTarget): Promise<TunnelPlan> {
  const { manager, name, label, alias } = service
  const { paths, env } = placesOf(io)
  const ssh = manager.label === 'launchd' ? '/usr/bin/ssh' : findSsh()
  if (ssh === undefined) throw sshMissing()
  return {
    spec: {
      ...name,
      description: 'SSH tunnel to the OpenClaw gateway',
      argv: [ssh, '-N', alias],
      env: {},
      logDir: join(paths.stateDir, 'logs'),
      file: manager.label === 'launchd' ? tunnelPlist(label, alias) : undefined
    },
    entry: await entryFor(service, target, env)
  }
}

async function entryFor(
  { alias, configPath }: TunnelService,
  { route, localPort }: TunnelTarget,
  env: Readonly<Record<string, string | undefined>>
): Promise<SshEntry | undefined> {
  const { target, identity, remotePort, hostKeyPolicy } = route
  // The entry is what was named: it is the user's, or was written before.
  if (target.host === alias || hasForeignEntry(readText(configPath), alias)) return undefined
  if (identity !== undefined && /["\p{Cc}]/u.test(identity)) {
    throw new CliError('USAGE', 'the path of the private key holds what an ssh configuration cannot', {
      fix: 'openclaw config set gateway.remote.sshIdentity ~/.ssh/id_ed25519'
    })
  }
  const { hostName, user, port, proxyJump } = await sshSettings(target, env)
  const strict = hostKeyPolicy === 'strict'
  return { alias, hostName, user, port, proxyJump, identity, localPort, remotePort, strict }
}

/** The text of a file; empty where there is none. */
export function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

const OLD = 'com.openclaw.ssh-tunnel'

/** Unloads the LaunchAgent of an older setup, and takes its file out of the way (R36); reports what was done. */
export async function retireOld(env: NodeJS.ProcessEnv): Promise<string[]> {
  const target = `gui/${userInfo().uid}/${OLD}`
  const file = join(env.HOME ?? userInfo().homedir, 'Library/LaunchAgents', `${OLD}.plist`)
  const notes: string[] = []
  if ((await askTool('launchctl', ['print', target], env)).code === 0) {
    await runTool('launchctl', ['bootout', target], env)
    notes.push(`unloaded the older ${OLD}`)
  }
  if (existsSync(file)) {
    await rename(file, `${file}.old`)
    notes.push(`moved ${file} to ${file}.old`)
  }
  return notes
}

/** The command of the system that does the same as a command of ours. */
export function systemCommand({ manager, label }: TunnelService, action: 'restart' | 'uninstall'): string {
  if (manager.label === 'systemd')
    return `systemctl --user ${action === 'restart' ? 'restart' : 'disable --now'} ${label}`
  return `launchctl ${action === 'restart' ? 'kickstart -k' : 'bootout'} gui/${userInfo().uid}/${label}`
}
