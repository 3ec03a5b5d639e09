import { startRefusal } from '../../auth/bind-policy.ts'
import { ConfigError } from '../../config/errors.ts'
import { firstStart } from '../../config/first-start.ts'
import { loadConfig } from '../../config/load.ts'
import type { Config } from '../../config/types.ts'
import { parseTimeout, placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printJson, printRows, withProgress } from '../output.ts'
import {
  type Drift,
  type GatewayService,
  gatewayEnvironment,
  gatewayService,
  gatewaySpec,
  portToTell,
  REINSTALL,
  refuseOther
} from './gateway.ts'
import { beside, refuseOccupied, strangerOf, strangerText } from './occupied.ts'
import { leftBehind } from './own-command.ts'
import { untilReady } from './ready.ts'
import { refuseForeign } from './service.ts'
import { serviceRows, shown } from './words.ts'

/** The options of `gateway start|stop|restart|uninstall`. */
export interface ControlOptions {
  timeout?: string
  json?: boolean
}

/** The options of `gateway install`. */
export interface InstallOptions extends ControlOptions {
  port?: string
  force?: boolean
  print?: boolean
}

const READY_MS = 30_000
const INSTALL = 'openclaw gateway install'

/** Installs the gateway as a service, and waits until it is ready. */
export async function installGateway(io: Io, options: InstallOptions, system?: string): Promise<void> {
  const { json = false } = options
  const timeoutMs = parseTimeout(options.timeout, READY_MS)
  const service = await gatewayService(io, system)
  const { manager, name, status } = service
  const told = portToTell(io, options.port)
  const spec = gatewaySpec(io, name, told)
  const text = manager.text(spec)
  if (options.print === true) {
    if (json) return printJson(io, { action: 'install', ok: true, result: 'printed', path: status.path, text })
    return io.stdout(`${status.path}:\n\n${text.trimEnd()}`)
  }
  await manager.check()
  if (service.command !== undefined && options.force !== true && !service.drift.some(isBroken)) {
    return alreadyInstalled(io, service, told, options)
  }
  const { config, wrote } = await startable(io, told)
  await refuseOccupied(io, service, config.gateway.port)
  const notes = [
    ...leftBehind(io.env, placesOf(io).paths.stateDir),
    ...(await withProgress(io, 'Installing the gateway', manager.install(spec)))
  ]
  const pid = await untilReady(io, service, { action: 'install', timeoutMs, before: status.runtime.pid })
  const after = await gatewayService(io, system)
  notes.push(...after.drift.map(({ message }) => message))
  if (json) {
    const facts = shown(manager, after.status)
    return printJson(io, { action: 'install', ok: true, result: 'installed', text, warnings: notes, service: facts })
  }
  if (wrote) io.stdout(`Wrote ${config.paths.configPath}`)
  io.stdout(`Wrote ${status.path}:\n\n${text}`)
  for (const note of notes) io.stderr(`note: ${note}`)
  printRows(io, serviceRows(manager, after.status, INSTALL))
  io.stdout(`The gateway is ready on port ${config.gateway.port}${pidText(pid)}. Open it: openclaw dashboard`)
}

// What starts a program that is gone can only be written anew.
function isBroken({ what }: Drift): boolean {
  return what === 'program'
}

async function alreadyInstalled(
  io: Io,
  service: GatewayService,
  told: number | undefined,
  options: InstallOptions
): Promise<void> {
  const { drift, port, manager, status } = service
  const other = told !== undefined && told !== port ? [`it listens on port ${port}, not on ${told}`] : []
  const messages = [...drift.map(({ message }) => message), ...other]
  if (messages.length > 0) {
    throw new CliError('SERVICE_DRIFT', `${status.name} is installed otherwise: ${messages.join('; ')}`, {
      fix: `${REINSTALL}${options.port === undefined ? '' : ` --port ${options.port}`}`
    })
  }
  if (status.runtime.status !== 'running') return controlService(io, 'start', options, service)
  if (options.json === true) {
    const facts = shown(manager, status)
    return printJson(io, { action: 'install', ok: true, result: 'already-installed', warnings: [], service: facts })
  }
  printRows(io, serviceRows(manager, status, INSTALL))
  io.stdout(`It is installed, and runs. Write it anew: ${REINSTALL}`)
}

/** The configuration that the service starts with, written where there is none; fails as the service would. */
async function startable(io: Io, port: number | undefined): Promise<{ config: Config; wrote: boolean }> {
  const { paths } = placesOf(io)
  const env = gatewayEnvironment(io)
  const flags = port === undefined ? {} : { port }
  try {
    // Here, and not by the service: its one-time link would be written into a log.
    const { wrote } = await firstStart(paths, env, flags)
    const config = await loadConfig({ env, paths, flags })
    const refusal = startRefusal(config.gateway)
    if (refusal !== undefined)
      throw new ConfigError('CONFIG_WOULD_NOT_START', refusal.message, { fix: refusal.fix.command })
    return { config, wrote }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [left] = leftBehind(io.env, paths.stateDir)
    throw new CliError('SERVICE_WOULD_NOT_START', `the gateway would not start as a service: ${error.message}`, {
      fix: left ?? error.fix.command,
      cause: error
    })
  }
}

/** One of the commands that an installed service takes. */
export type Action = 'start' | 'stop' | 'restart' | 'uninstall'

/** Starts, stops, restarts or removes the gateway's service. */
export async function controlGateway(io: Io, action: Action, options: ControlOptions, system?: string): Promise<void> {
  return controlService(io, action, options, await gatewayService(io, system))
}

async function controlService(io: Io, action: Action, options: ControlOptions, service: GatewayService): Promise<void> {
  const { manager, name, status } = service
  const running = status.runtime.status === 'running'
  const starts = action === 'start' || action === 'restart'
  const timeoutMs = parseTimeout(options.timeout, READY_MS)
  const stranger = await strangerOf(io, service)
  const warnings: string[] = []
  if (!status.installed && !running) {
    if (starts) throw missing(stranger === undefined ? '' : `; ${strangerText(stranger)}`)
    if (stranger !== undefined) warnings.push(strangerText(stranger))
    return report(
      io,
      { action, result: 'not-loaded', words: 'The gateway service is not installed.', warnings, options },
      service
    )
  }
  if (action === 'start' && running) {
    const words = `The gateway service runs already${pidText(status.runtime.pid)}.`
    return report(io, { action, result: 'already-running', words, warnings, options }, service)
  }
  if (action === 'uninstall') refuseForeign(manager, name, status)
  if (!starts) {
    await withProgress(io, 'Stopping the gateway', manager[action](name))
    if (stranger !== undefined) warnings.push(strangerText(stranger))
    const result = action === 'stop' ? 'stopped' : 'uninstalled'
    const more = action === 'uninstall' ? ` ${placesOf(io).paths.stateDir} stays.` : ''
    return report(io, { action, result, words: `The gateway service is ${result}.${more}`, warnings, options }, service)
  }
  if (stranger !== undefined) throw beside(stranger)
  refuseOther(service)
  for (const { message } of service.drift) warnings.push(`${message}; ${REINSTALL}`)
  if (service.port !== undefined && !running) await refuseOccupied(io, service, service.port)
  await withProgress(io, 'Starting the gateway', manager[action](name))
  const pid = await untilReady(io, service, { action, timeoutMs, before: status.runtime.pid })
  const result = action === 'start' ? 'started' : 'restarted'
  const where = service.port === undefined ? '' : ` on port ${service.port}`
  const words = `The gateway service is ${result}, and ready${where}${pidText(pid)}.`
  return report(io, { action, result, words, warnings, options }, service)
}

function pidText(pid: number | undefined): string {
  return pid === undefined ? '' : ` (pid ${pid})`
}

function missing(more: string): CliError {
  return new CliError('SERVICE_MISSING', `the gateway service is not installed${more}`, {
    fix: `${INSTALL}, or in this terminal: openclaw gateway run`
  })
}

interface Outcome {
  action: Action
  result: string
  words: string
  warnings: readonly string[]
  options: ControlOptions
}

async function report(io: Io, outcome: Outcome, { manager, name }: GatewayService): Promise<void> {
  const { action, result, words, warnings, options } = outcome
  if (options.json === true) {
    const service = shown(manager, await manager.status(name))
    return printJson(io, { action, ok: true, result, warnings, service })
  }
  for (const warning of warnings) io.stderr(`warning: ${warning}`)
  io.stdout(words)
}
