import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { runningGateway } from '../doctor/running.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printable, withProgress } from '../output.ts'
import type { GatewayService } from './gateway.ts'

const LOOK_MS = 100
const ASK_MS = 1_000
const LINES = 5

/** What is waited for, and how long. */
export interface Wait {
  action: 'install' | 'start' | 'restart'
  timeoutMs: number
  /** The process that is not it any more. */
  before?: number | undefined
}

/**
 * Waits until the gateway of a service that was just started takes work, and resolves with its process. Fails when the
 * service has ended, or the time is over, with the last that it said.
 */
export async function untilReady(io: Io, service: GatewayService, wait: Wait): Promise<number | undefined> {
  return withProgress(io, 'Waiting for the gateway', look(io, service, wait))
}

async function look(io: Io, { manager, name }: GatewayService, wait: Wait): Promise<number | undefined> {
  const { paths } = placesOf(io)
  const deadline = Date.now() + wait.timeoutMs
  for (let asked = Date.now(); ; await sleep(LOOK_MS)) {
    if (await isReady(paths.localSocket)) {
      const { pid } = await runningGateway(paths)
      if (pid === undefined || pid !== wait.before) return pid
    }
    const over = Date.now() > deadline
    if (!over && Date.now() - asked < ASK_MS) continue
    asked = Date.now()
    const { runtime } = await manager.status(name)
    if (over || runtime.failed === true) {
      const facts = runtime.detail === undefined ? runtime.status : `${runtime.status}: ${runtime.detail}`
      const why = runtime.failed === true ? 'ended' : `is not ready after ${formatDuration(wait.timeoutMs)}`
      const said = (await manager.output(name, LINES)).map((line) => printable(line).slice(0, 300))
      const words = said.length === 0 ? '' : `; it said last:\n  ${said.join('\n  ')}`
      throw new CliError('SERVICE_NOT_READY', `the gateway service ${why} (${facts})${words}`, {
        fix: manager.outputCommand(name),
        extra: { action: wait.action, result: `${wait.action}-health-failed` }
      })
    }
  }
}

/** Reports whether a gateway takes work, as it tells its owner. */
function isReady(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(
      { socketPath, path: '/readyz', headers: { host: 'localhost' }, timeout: ASK_MS },
      (response) => {
        response.resume()
        resolve(response.statusCode === 200)
      }
    )
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
}
