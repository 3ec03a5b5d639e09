import { arch, platform, release } from 'node:os'
import { join } from 'node:path'
import { listenTargets } from '../auth/bind-policy.ts'
import { loadConfig } from '../config/load.ts'
import { readSnapshot } from '../config/snapshot.ts'
import type { Config } from '../config/types.ts'
import { portOwner, programOf } from '../port-owner.ts'
import { accepts } from './doctor/running.ts'
import { placesOf } from './gateway-call.ts'
import type { Io } from './io.ts'

/** What this host knows of its gateway without asking it. */
export interface HostFacts {
  stateDir: string
  localSocket: string
  logFile: string
  config: { path: string; exists: boolean; valid: boolean; problems: readonly string[] }
  /** Undefined where the configuration cannot be read. */
  gateway: LocalGateway | undefined
}

interface LocalGateway {
  mode: 'local' | 'remote'
  bindMode: string
  bindHost: string | undefined
  port: number
  portSource: string
  loopbackUrl: string
  /** Undefined where the Control UI is off. */
  controlUi: { httpUrl: string; wsUrl: string } | undefined
}

/** Looks at the configuration and the places of this host. Never throws for what is wrong in a file. */
export async function hostFacts(io: Io): Promise<HostFacts> {
  const { paths, env } = placesOf(io)
  const { exists, valid, issues } = readSnapshot(paths, env)
  const problems = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
  const config = await loadConfig({ env, paths, client: true }).catch(() => undefined)
  return {
    stateDir: paths.stateDir,
    localSocket: paths.localSocket,
    logFile: join(paths.stateDir, 'logs', 'gateway.log'),
    config: { path: paths.configPath, exists, valid, problems },
    gateway: config && localGateway(config)
  }
}

function localGateway({ gateway }: Config): LocalGateway {
  const { bind, port, portSource, tls, controlUi } = gateway
  const [first] = listenTargets(gateway, { loopbackWorks: true, tailnetAddress: undefined })
  const s = tls.enabled ? 's' : ''
  const at = `127.0.0.1:${port}`
  const loopbackUrl = `ws${s}://${at}`
  const links = { httpUrl: `http${s}://${at}${controlUi.basePath}/`, wsUrl: loopbackUrl }
  return {
    mode: gateway.mode ?? 'local',
    bindMode: bind,
    bindHost: first?.host,
    port,
    portSource,
    loopbackUrl,
    controlUi: controlUi.enabled ? links : undefined
  }
}

/** Who has the port of this host's gateway. */
export async function portFacts(port: number) {
  const [owner, taken] = await Promise.all([portOwner(port), accepts({ host: '127.0.0.1', port })])
  const busy = owner !== undefined || taken
  const listeners = owner === undefined ? [] : [{ pid: owner.pid, command: programOf(owner) }]
  return { port, status: busy ? ('busy' as const) : ('free' as const), listeners }
}

/** The system that this command runs on. */
export function systemFacts() {
  const label = `${platform()} ${release()} (${arch()})`
  return { platform: platform(), arch: arch(), release: release(), label, node: process.versions.node }
}
