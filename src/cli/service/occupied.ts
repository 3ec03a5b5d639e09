import { portOwner, programOf } from '../../port-owner.ts'
import { accepts, type Running, runningGateway } from '../doctor/running.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import type { GatewayService } from './gateway.ts'

/** The gateway that runs on this state, and is not the service's; undefined where there is none. */
export async function strangerOf(io: Io, { status }: GatewayService): Promise<Running | undefined> {
  const found = await runningGateway(placesOf(io).paths)
  if (!found.running) return undefined
  const { runtime } = status
  // A manager that does not tell the process of a running service leaves no other guess.
  const own = runtime.status === 'running' && (runtime.pid === undefined || runtime.pid === found.pid)
  return own ? undefined : found
}

/** What a gateway that is no service is called. */
export function strangerText({ pid }: Running): string {
  return `a gateway runs here${pid === undefined ? '' : ` (pid ${pid})`} that is not this service`
}

/** Refuses to start a service beside a gateway on the same state, or on a port that somebody else has. */
export async function refuseOccupied(io: Io, service: GatewayService, port: number): Promise<void> {
  const stranger = await strangerOf(io, service)
  if (stranger !== undefined) throw beside(stranger)
  const { running } = await runningGateway(placesOf(io).paths)
  if (running) return
  const [owner, taken] = await Promise.all([portOwner(port), accepts({ host: '127.0.0.1', port })])
  if (owner === undefined && !taken) return
  const who = owner === undefined ? 'a process of another user' : `pid ${owner.pid} (${programOf(owner)})`
  throw new CliError('PORT_IN_USE', `port ${port} is taken by ${who}`, {
    fix: 'stop it, or take another port: openclaw config set gateway.port PORT'
  })
}

/** The refusal of what would be a second gateway on the same state. */
export function beside(stranger: Running): CliError {
  const { pid } = stranger
  const stop = pid === undefined ? 'stop it where it runs' : `stop it where it runs, or: kill ${pid}`
  return new CliError('SERVICE_BESIDE', `${strangerText(stranger)}`, { fix: `${stop}; then try again` })
}
