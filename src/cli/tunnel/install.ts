import { existsSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import { checkRoute } from '../../client/ssh/check.ts'
import { backUp, writeAtomically } from '../../config/write.ts'
import { confirm } from '../confirm.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson } from '../output.ts'
import {
  planTunnel,
  readText,
  retireOld,
  systemCommand,
  type TunnelPlan,
  type TunnelService,
  tunnelService
} from './service.ts'
import { entryText, withEntry, withoutEntry } from './ssh-config.ts'
import { type TunnelOptions, tunnelTarget } from './target.ts'

/** The options of `tunnel install` and `tunnel uninstall`. */
export interface ServiceOptions extends TunnelOptions {
  print?: boolean
}

const CHECK_MS = 10_000

/** Writes the ssh entry and the service, after both were shown, and starts the tunnel. */
export async function installTunnel(io: Io, options: ServiceOptions, system?: string): Promise<void> {
  const target = await tunnelTarget(io, options)
  const service = await tunnelService(io, system)
  const plan = await planTunnel(io, service, target)
  const { path } = await service.manager.status(service.name)
  const shown = { config: service.configPath, entry: plan.entry && entryText(plan.entry), path }
  const text = service.manager.text(plan.spec)
  if (options.json !== true) printPlan(io, service, { ...shown, text })
  if (options.print === true) {
    if (options.json === true) printJson(io, { action: 'install', ok: true, result: 'printed', ...shown, text })
    return
  }
  await service.manager.check()
  const warned = await warnings(io, target.route)
  for (const warning of warned) io.stderr(warning)
  const notes: string[] = []
  if (options.json !== true && !(await confirm('Write both, and start the tunnel?'))) {
    return io.stdout('Nothing was written.')
  }
  await writeEntry(service, plan)
  if (service.manager.label === 'launchd') notes.push(...(await retireOld(io.env)))
  notes.push(...(await service.manager.install(plan.spec)))
  if (options.json === true) {
    return printJson(io, {
      action: 'install',
      ok: true,
      result: 'installed',
      ...shown,
      text,
      warnings: [...warned, ...notes]
    })
  }
  for (const note of notes) io.stderr(`note: ${note}`)
  io.stdout('Installed and started. See how it is: openclaw tunnel status')
}

interface Shown {
  config: string
  entry: string | undefined
  path: string
  text: string
}

function printPlan(io: Io, { alias }: TunnelService, { config, entry, path, text }: Shown): void {
  if (entry === undefined) io.stdout(`${config}: its own entry for ${alias} stays as it is.\n`)
  else io.stdout(`${config}, at its top:\n\n${printable(entry)}`)
  io.stdout(`${path}:\n\n${printable(text)}`)
}

// A service that cannot log in would try for ever, where nobody looks.
async function warnings(io: Io, route: Parameters<typeof checkRoute>[0]): Promise<string[]> {
  const problem = await checkRoute(route, { env: placesOf(io).env, timeoutMs: CHECK_MS })
  if (problem === undefined) return []
  return [printable(`warning: ${problem.message}${problem.fix === undefined ? '' : `\nfix: ${problem.fix}`}`)]
}

async function writeEntry({ configPath }: TunnelService, { entry }: TunnelPlan): Promise<void> {
  if (entry === undefined) return
  await mkdir(dirname(configPath), { recursive: true, mode: 0o700 })
  await change(configPath, withEntry(readText(configPath), entry))
}

async function change(path: string, text: string): Promise<void> {
  if (readText(path) === text) return
  // The file may be a link into a folder of settings that is kept elsewhere.
  const file = existsSync(path) ? await realpath(path) : path
  if (existsSync(file)) await backUp(file)
  await writeAtomically(file, text)
}

/** Stops the tunnel's service, and takes away what `installTunnel` wrote. */
export async function uninstallTunnel(io: Io, options: ServiceOptions, system?: string): Promise<void> {
  const service = await tunnelService(io, system)
  const { manager, name, configPath, alias } = service
  const status = await manager.status(name)
  const before = readText(configPath)
  const after = withoutEntry(before, alias)
  if (options.print === true) {
    const lines = [systemCommand(service, 'uninstall'), `rm ${status.path}`]
    if (after !== before) lines.push(`# and the entry for ${alias} in ${configPath}`)
    return io.stdout(lines.join('\n'))
  }
  const absent = !status.installed && status.runtime.status !== 'running'
  if (!absent) await manager.uninstall(name)
  if (after !== before) await change(configPath, after)
  const result = absent ? 'not-loaded' : 'uninstalled'
  if (options.json === true) return printJson(io, { action: 'uninstall', ok: true, result })
  io.stdout(absent ? 'The tunnel service is not installed.' : 'The tunnel service is uninstalled.')
}

/** Stops the tunnel's service and starts it again. */
export async function restartTunnel(io: Io, options: ServiceOptions, system?: string): Promise<void> {
  const service = await tunnelService(io, system)
  if (options.print === true) return io.stdout(systemCommand(service, 'restart'))
  const { manager, name } = service
  if (!(await manager.status(name)).installed) {
    throw new CliError('SERVICE_MISSING', 'the tunnel service is not installed', { fix: 'openclaw tunnel install' })
  }
  await manager.restart(name)
  if (options.json === true) return printJson(io, { action: 'restart', ok: true, result: 'restarted' })
  io.stdout('The tunnel service is restarted.')
}
