import { Command } from 'commander'
import type { TunnelState } from '../../../client/ssh/keeper.ts'
import { describeTarget } from '../../../client/ssh/route.ts'
import { placesOf } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { jsonText } from '../../output.ts'
import { type TunnelOptions, type TunnelTarget, tunnelTarget } from '../../tunnel/target.ts'
import { tunnelTeller } from '../../tunnel/teller.ts'
import { addTunnelOptions } from './options.ts'

/** `openclaw tunnel up`: keeps a tunnel up in the foreground. */
export function buildUp(io: Io): Command {
  const command = new Command('up').description('Keep an SSH tunnel to the gateway up in this terminal').addHelpText(
    'after',
    `
Examples:
  openclaw tunnel up
  openclaw tunnel up --ssh me@gateway-host --local-port 18790`
  )
  return addTunnelOptions(command)
    .option('--json', 'Print each state as a line of JSON')
    .action((options: TunnelOptions) => up(io, options))
}

async function up(io: Io, options: TunnelOptions): Promise<void> {
  const target = await tunnelTarget(io, options)
  const { TunnelKeeper } = await import('../../../client/ssh/keeper.ts')
  const { stopSignal } = await import('../../stop-signal.ts')
  const say = options.json === true ? jsonTeller(io, target) : tunnelTeller(io, target)
  const keeper = new TunnelKeeper(target.route, { localPort: target.localPort, env: placesOf(io).env, onState: say })
  void stopSignal().then(() => keeper.stop())
  await keeper.run()
}

function jsonTeller(io: Io, { route, localPort }: TunnelTarget): (state: TunnelState) => void {
  const about = { target: describeTarget(route.target), localPort, remotePort: route.remotePort }
  return (state) => {
    const { error } = { error: undefined, ...state }
    const shape = error === undefined ? undefined : { code: error.code, message: error.message, fix: error.fix }
    io.stdout(jsonText({ ...about, ...state, ...(shape === undefined ? {} : { error: shape }) }))
  }
}
