import type { ClientError } from '../../client/errors.ts'
import { checkRoute } from '../../client/ssh/check.ts'
import { type LocalEnd, localEnd } from '../../client/ssh/local-end.ts'
import { describeTarget } from '../../client/ssh/route.ts'
import { placesOf } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { printJson, printRows } from '../output.ts'
import { readText, tunnelService } from './service.ts'
import { hasForeignEntry, withoutEntry } from './ssh-config.ts'
import { configuredTunnel, type TunnelOptions } from './target.ts'

const CHECK_MS = 5_000

/** Shows whether the tunnel is up, who keeps it up, and what stands in its way; exit code 1 when it is not up. */
export async function showTunnel(io: Io, options: TunnelOptions, system?: string): Promise<void> {
  const { route, localPort } = await configuredTunnel(io, options)
  const { manager, name, alias, configPath } = await tunnelService(io, system)
  const [service, end] = await Promise.all([manager.status(name), localEnd(localPort)])
  // Also through a tunnel that is up: whether the login still works, and whether the gateway behind it answers.
  const problem =
    route === undefined ? undefined : await checkRoute(route, { env: placesOf(io).env, timeoutMs: CHECK_MS })
  const config = readText(configPath)
  const entry = withoutEntry(config, alias) !== config ? 'ours' : hasForeignEntry(config, alias) ? 'own' : 'none'
  io.exit(end.state === 'ssh' && problem === undefined ? 0 : 1)
  if (options.json === true) {
    return printJson(io, {
      target: route === undefined ? null : describeTarget(route.target),
      remotePort: route?.remotePort,
      localPort,
      localEnd: end,
      gateway: { answers: route === undefined ? null : problem === undefined, ...errorOf(problem) },
      entry: { path: configPath, alias, state: entry },
      service: { label: manager.label, ...service }
    })
  }
  const { status, pid } = service.runtime
  const runs = service.installed ? `${status}${pid === undefined ? '' : ` (pid ${pid})`}` : 'not installed'
  printRows(io, [
    ['Host', route === undefined ? 'none is named' : `${describeTarget(route.target)}, port ${route.remotePort} there`],
    ['Local end', `127.0.0.1:${localPort}, ${endText(end)}`],
    ['Gateway', route === undefined ? undefined : problem === undefined ? 'answers through SSH' : 'not reached'],
    ['Service', `${service.name} (${manager.label}), ${runs}`],
    [
      'SSH entry',
      { ours: `${alias} in ${configPath}`, own: `${alias} in ${configPath}, your own`, none: undefined }[entry]
    ],
    ['Problem', problem?.message],
    ['Fix', problem?.fix ?? fixOf(end, service.installed, route !== undefined)]
  ])
}

function errorOf(problem: ClientError | undefined): object {
  return problem === undefined ? {} : { error: { code: problem.code, message: problem.message, fix: problem.fix } }
}

function endText(end: LocalEnd): string {
  if (end.state === 'ssh') return `up (ssh, pid ${end.pid})`
  return end.state === 'free' ? 'not up' : `taken by ${end.who}`
}

function fixOf({ state }: LocalEnd, installed: boolean, named: boolean): string | undefined {
  if (!named) return 'openclaw config set gateway.remote.sshTarget user@gateway-host'
  if (state === 'ssh') return undefined
  return installed ? 'openclaw tunnel restart' : 'openclaw tunnel up, or to keep it up: openclaw tunnel install'
}
