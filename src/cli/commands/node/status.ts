import { join } from 'node:path'
import { Command } from 'commander'
import type { Standing } from '../../../node-host/standing.ts'
import { placesOf } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { printable, printJson, printRows } from '../../output.ts'
import { serviceManager } from '../../service/service.ts'
import { serviceRows, shown } from '../../service/words.ts'
import { formatMoment } from '../../table.ts'
import { INSTALL, nameOf } from './service.ts'

/** `openclaw node status`: the service, and how this machine stands with its gateway, whoever runs the node. */
export function buildServiceStatus(io: Io): Command {
  return new Command('status')
    .description('Show whether the service runs, and whether the node is connected')
    .option('--json', 'Print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const manager = await serviceManager(io.env, 'openclaw node run')
      const status = await manager.status(nameOf(io))
      const { stateDir } = placesOf(io).paths
      const [{ NodeMemory }, connections] = await Promise.all([
        import('../../../node-host/state.ts'),
        connectionsOf(join(stateDir, 'node'))
      ])
      const paired = (await new NodeMemory(stateDir).read())?.gateway?.url
      if (json === true) return printJson(io, { service: shown(manager, status), paired: paired ?? null, connections })
      printRows(io, [
        ...serviceRows(manager, status, INSTALL),
        ['paired with', paired && printable(paired)],
        ...connections.flatMap(rowsOf)
      ])
    })
}

interface Connection extends Standing {
  /** Reports whether a node host runs for this gateway. */
  running: boolean
}

// Those that run; where none does, the one that ran last.
async function connectionsOf(folder: string): Promise<Connection[]> {
  const [{ readStandings }, { isLocked }] = await Promise.all([
    import('../../../node-host/standing.ts'),
    import('../../../store/lock.ts')
  ])
  const all = readStandings(folder).map(({ name, connected, ...rest }) => {
    const running = isLocked(folder, name)
    return { ...rest, running, connected: running && connected }
  })
  const running = all.filter((each) => each.running)
  return running.length > 0 ? running : all.slice(0, 1)
}

function rowsOf({ gateway, running, connected, sinceMs, trouble }: Connection): [string, string | undefined][] {
  const state = running ? `${connected ? 'connected' : 'not connected'} since ${formatMoment(sinceMs)}` : 'no node runs'
  const words = trouble && `${printable(trouble.message)} (${formatMoment(trouble.atMs)})`
  return [
    ['gateway', printable(gateway)],
    ['connection', state],
    ['last trouble', words],
    ['fix', connected || trouble?.fix === undefined ? undefined : printable(trouble.fix)]
  ]
}
