import { join } from 'node:path'
import { Command } from 'commander'
import { placesOf } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { printJson, printRows } from '../../output.ts'
import { leftBehind, ownCommand, serviceEnvironment } from '../../service/own-command.ts'
import { refuseForeign, type ServiceName, serviceManager } from '../../service/service.ts'
import { serviceRows, shown } from '../../service/words.ts'
import { addNodeOptions, gatewayFlags, type NodeOptions, optionWords } from './options.ts'
import { startNode } from './start.ts'

interface InstallOptions extends NodeOptions {
  print?: boolean
  json?: boolean
}

/** `openclaw node install`: keeps the node host running, now and after a restart of the machine. */
export function buildInstall(io: Io): Command {
  const command = new Command('install')
    .description('Install the node host as a service of this user, and start it')
    .addHelpText(
      'after',
      `
The service's file holds no secret. Until the node is paired, its credential comes from the configuration, or from .env in
the state folder (mode 0600); a code of --pair is redeemed before the file is written.

Examples:
  openclaw node install --pair oc-pair://CODE
  openclaw node install --host 192.168.1.20 --display-name "Build box"
  openclaw node install --host 192.168.1.20 --print      (shows the file, and writes nothing)`
    )
  return addNodeOptions(command)
    .option('--print', "Show the service's file, and write nothing")
    .option('--json', 'Print JSON')
    .action((options: InstallOptions) => install(io, options))
}

async function install(io: Io, { print, json, ...options }: InstallOptions): Promise<void> {
  gatewayFlags(options)
  const { paths } = placesOf(io)
  const manager = await serviceManager(io.env, 'openclaw node run')
  const spec = {
    ...nameOf(io),
    description: 'OpenClaw node host',
    argv: ownCommand(io, ['node', 'run', ...optionWords(options)]),
    env: serviceEnvironment(io.env),
    logDir: join(paths.stateDir, 'logs')
  }
  const text = manager.text(spec)
  if (print === true) {
    const { path } = await manager.status(spec)
    if (json === true) return printJson(io, { action: 'install', ok: true, result: 'printed', path, text })
    return io.stdout(`${path}:\n\n${text.trimEnd()}`)
  }
  await manager.check()
  // Before the service is there: a code is good for once, and has no place in a file.
  if (options.pair !== undefined) await pairFirst(io, options)
  const notes = [...leftBehind(io.env, paths.stateDir), ...(await manager.install(spec))]
  const status = await manager.status(spec)
  if (json === true) {
    return printJson(io, {
      action: 'install',
      ok: true,
      result: 'installed',
      text,
      warnings: notes,
      service: shown(manager, status)
    })
  }
  io.stdout(`Wrote ${status.path}:\n\n${text}`)
  io.stdout('It holds no secret: the credential stays in the configuration or in .env of the state folder, mode 0600.')
  for (const note of notes) io.stderr(`note: ${note}`)
  printRows(io, serviceRows(manager, status, INSTALL))
}

async function pairFirst(io: Io, options: NodeOptions): Promise<void> {
  const failed = Promise.withResolvers<never>()
  // Nobody watches a service that waits for its gateway; whoever installs it can mend what is wrong.
  const node = await startNode(io, options, (trouble) => {
    if (trouble === undefined) return
    const fix = trouble.fix ?? 'see that this machine reaches the gateway, and try again: the code was not used'
    failed.reject(new CliError('NODE_NOT_PAIRED', `nothing was installed: ${trouble.message}`, { fix }))
  })
  await Promise.race([node.paired, failed.promise]).finally(() => node.stop())
}

type Action = 'start' | 'stop' | 'restart' | 'uninstall'

const DONE: Record<Action, [what: string, result: string]> = {
  start: ['Start the installed service', 'started'],
  stop: ['Stop the service; it starts again with the next login', 'stopped'],
  restart: ['Stop the service and start it again', 'restarted'],
  uninstall: ['Stop the service, and remove it', 'uninstalled']
}

/** `openclaw node start|stop|restart|uninstall`. */
export function buildServiceCommand(io: Io, action: Action): Command {
  const [description, result] = DONE[action]
  return new Command(action)
    .description(description)
    .option('--json', 'Print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const manager = await serviceManager(io.env, 'openclaw node run')
      const name = nameOf(io)
      const before = await manager.status(name)
      const absent = !before.installed && before.runtime.status !== 'running'
      if (absent && (action === 'start' || action === 'restart')) {
        throw new CliError('SERVICE_MISSING', 'the node service is not installed', {
          fix: INSTALL
        })
      }
      if (action === 'uninstall') refuseForeign(manager, name, before)
      // What is not there is stopped and removed already.
      if (!absent) await manager[action](name)
      const service = await manager.status(name)
      const outcome = absent ? 'not-loaded' : result
      if (json === true) printJson(io, { action, ok: true, result: outcome, service: shown(manager, service) })
      else io.stdout(absent ? 'The node service is not installed.' : `The node service is ${result}.`)
    })
}

/** How a person installs it. */
export const INSTALL = 'openclaw node install --host GATEWAY'

/** What the system calls the node's service. */
export function nameOf(io: Io): ServiceName {
  return { kind: 'node', profile: placesOf(io).paths.profile }
}
