import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../../config/load.ts'
import { type Env, envValue, resolvePaths } from '../../config/paths.ts'
import type { Paths } from '../../config/types.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { parsePort } from '../ports.ts'
import { ownCommand, ownServer, serviceEnvironment } from './own-command.ts'
import {
  type ServiceCommand,
  type ServiceManager,
  type ServiceName,
  type ServiceSpec,
  type ServiceStatus,
  serviceManager
} from './service.ts'

/** The service that keeps the gateway of this profile running. */
export interface GatewayService {
  manager: ServiceManager
  name: ServiceName
  status: ServiceStatus
  /** What it starts; undefined where it is not installed, or somebody else wrote it. */
  command: ServiceCommand | undefined
  /** The port that it listens on; undefined where that is not known. */
  port: number | undefined
  drift: Drift[]
}

/** One way in which an installed service is not what this command would install now. */
export interface Drift {
  what: 'program' | 'cli' | 'state' | 'config' | 'port'
  message: string
}

/** Puts all of them right. */
export const REINSTALL = 'openclaw gateway install --force'

/** Looks at the gateway's service: whether it is there, runs, and still is what it should be. */
export async function gatewayService(io: Io, system?: string): Promise<GatewayService> {
  const { paths } = placesOf(io)
  const manager = await serviceManager(io.env, 'openclaw gateway run', system)
  const name = { kind: 'gateway', profile: paths.profile }
  const status = await manager.status(name)
  const command = manager.command(name)
  if (command === undefined) return { manager, name, status, command, port: undefined, drift: [] }
  const port = await portOf(io, command)
  return { manager, name, status, command, port, drift: await driftOf(io, command, port) }
}

/** The service as this command would install it. */
export function gatewaySpec(io: Io, name: ServiceName, port: number | undefined): ServiceSpec {
  return {
    ...name,
    description: 'OpenClaw gateway',
    argv: ownServer(io, ['gateway', 'run', ...(port === undefined ? [] : ['--port', String(port)])]),
    env: serviceEnvironment(io.env),
    logDir: join(placesOf(io).paths.stateDir, 'logs'),
    confidential: true
  }
}

/** The environment that the service starts with, as far as its file says. */
export function gatewayEnvironment(io: Io): Env {
  return { ...serviceEnvironment(io.env), HOME: io.env.HOME }
}

/** The port that a service has to be told, because nothing that it reads says so. */
export function portToTell(io: Io, given: string | undefined): number | undefined {
  if (given !== undefined) return parsePort(given)
  const inherited = envValue(io.env, 'OPENCLAW_GATEWAY_PORT')
  return inherited === undefined ? undefined : parsePort(inherited, 'OPENCLAW_GATEWAY_PORT')
}

async function portOf(io: Io, command: ServiceCommand): Promise<number | undefined> {
  const told = after(command.argv, '--port')
  return told === undefined ? configuredPort(placesFor(io, command)) : Number(told)
}

// Where a service looks, by its own file.
function placesFor(io: Io, { argv, env }: ServiceCommand): { env: Env; paths: Paths } {
  const own = { HOME: io.env.HOME, ...env }
  return { env: own, paths: resolvePaths(own, { profile: after(argv, '--profile') }) }
}

async function configuredPort(places: { env: Env; paths: Paths }): Promise<number | undefined> {
  const config = await loadConfig({ ...places, client: true }).catch(() => undefined)
  return config?.gateway.port
}

async function driftOf(io: Io, command: ServiceCommand, port: number | undefined): Promise<Drift[]> {
  const found: Drift[] = []
  const { paths } = placesOf(io)
  const [node = '', ...rest] = command.argv
  const main = rest.find((word) => !word.startsWith('-')) ?? ''
  const own = ownCommand(io, [])[1]!
  const gone = [node, main].find((path) => !existsSync(path))
  if (gone !== undefined) found.push({ what: 'program', message: `it starts ${gone}, which is not there any more` })
  else if (main !== own) found.push({ what: 'cli', message: `it starts ${main}, and this command is ${own}` })
  const { paths: its } = placesFor(io, command)
  if (its.stateDir !== paths.stateDir) {
    found.push({ what: 'state', message: `its state is in ${its.stateDir}, and this command's in ${paths.stateDir}` })
  }
  if (its.configPath !== paths.configPath) {
    found.push({ what: 'config', message: `it reads ${its.configPath}, and this command ${paths.configPath}` })
  }
  const wanted = await configuredPort({ env: io.env, paths })
  if (port !== undefined && wanted !== undefined && port !== wanted) {
    found.push({ what: 'port', message: `it listens on port ${port}, and commands look for it on port ${wanted}` })
  }
  return found
}

function after(words: readonly string[], option: string): string | undefined {
  const at = words.indexOf(option)
  return at === -1 ? undefined : words[at + 1]
}

/** Refuses to act on a service that works on other files than this command: the wrong gateway would answer. */
export function refuseOther({ status, drift }: GatewayService): void {
  const other = drift.filter(({ what }) => what === 'state' || what === 'config')
  if (other.length === 0) return
  throw new CliError(
    'SERVICE_DRIFT',
    `${status.name} is not for this: ${other.map((each) => each.message).join('; ')}`,
    {
      fix: `${REINSTALL}, to make it so; or unset OPENCLAW_STATE_DIR and OPENCLAW_CONFIG_PATH`
    }
  )
}
