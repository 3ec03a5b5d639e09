import { Command } from 'commander'
import type { TunnelState } from '../../../client/ssh/keeper.ts'
import { describeTarget } from '../../../client/ssh/route.ts'
import { placesOf } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { formatDuration, printable } from '../../output.ts'
import { type TunnelOptions, type TunnelTarget, tunnelTarget } from '../../tunnel/target.ts'
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
  const say = options.json === true ? jsonTeller(io, target) : teller(io, target)
  const keeper = new TunnelKeeper(target.route, { localPort: target.localPort, env: placesOf(io).env, onState: say })
  void stopSignal().then(() => keeper.stop())
  await keeper.run()
}

function jsonTeller(io: Io, { route, localPort }: TunnelTarget): (state: TunnelState) => void {
  const about = { target: describeTarget(route.target), localPort, remotePort: route.remotePort }
  return (state) => {
    const { error } = { error: undefined, ...state }
    const shape = error === undefined ? undefined : { code: error.code, message: error.message, fix: error.fix }
    io.stdout(JSON.stringify({ ...about, ...state, ...(shape === undefined ? {} : { error: shape }) }))
  }
}

function teller(io: Io, { route, localPort }: TunnelTarget): (state: TunnelState) => void {
  const where = describeTarget(route.target)
  let trouble = ''
  return (state) => {
    if (state.phase === 'connecting') return io.stdout(`Connecting to ${where}`)
    if (state.phase === 'up') {
      trouble = ''
      const from = `127.0.0.1:${localPort}`
      return io.stdout(`Up: ${from} leads to port ${route.remotePort} of ${where} (ssh, pid ${state.pid})`)
    }
    const { message, fix } = state.error
    if (state.phase === 'waiting') {
      return io.stderr(`Down: ${printable(message)}; again in ${formatDuration(state.retryInMs)}`)
    }
    // Once, however many connections come to it.
    if (message === trouble) return
    trouble = message
    io.stderr(printable(message))
    if (fix !== undefined) io.stderr(`fix: ${printable(fix)}`)
  }
}
