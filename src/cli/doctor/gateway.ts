import { createServer } from 'node:net'
import { VERSION } from '../../package.ts'
import { portOwner, programOf } from '../../port-owner.ts'
import { inspectGateway } from '../status.ts'
import { type Check, subject } from './check.ts'
import { type DoctorContext, isRemote } from './context.ts'
import { accepts } from './running.ts'

const port = subject('port', 'Port')
const gateway = subject('gateway', 'Gateway')

/** The main port: free, ours, or somebody else's. */
export async function portCheck(context: DoctorContext): Promise<Check> {
  const { config, running } = context
  if (isRemote(context)) return port.skipped('gateway.mode is "remote": this host opens none')
  if (config === undefined) return port.skipped('the configuration cannot be read')
  const { port: number, portSource } = config.gateway
  const [owner, taken] = await Promise.all([portOwner(number), accepts({ host: '127.0.0.1', port: number })])
  if (owner === undefined && !taken) {
    if (!running.answers) return port.ok(`${number} is free`)
    return port.warning(`${number} is free, so the running gateway listens on another one`, {
      path: 'gateway.port',
      fix: 'openclaw gateway status'
    })
  }
  if (running.running && owner?.pid === running.pid) return port.ok(`${number} is the gateway's`)
  const who = owner === undefined ? 'a process of another user' : `pid ${owner.pid} (${programOf(owner)})`
  // Whose process it is cannot be told from here: the gateway may run as another user, or in a container.
  if (owner === undefined && running.running) return port.ok(`${number} is taken, by the gateway as it seems`)
  const fix =
    portSource === 'env' ? 'unset OPENCLAW_GATEWAY_PORT' : `openclaw config set gateway.port ${await freeAfter(number)}`
  return port.error(`${number} is taken by ${who}`, { path: 'gateway.port', fix })
}

async function freeAfter(taken: number): Promise<number> {
  for (let next = taken + 1; next < Math.min(taken + 50, 65_536); next++) if (await canListen(next)) return next
  return 18_789
}

function canListen(number: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(number, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** The gateway of this host: reachable by its owner, and of this version. */
export async function gatewayCheck(context: DoctorContext): Promise<Check> {
  const { io, paths, running, timeoutMs, deep } = context
  if (isRemote(context)) return gateway.skipped('gateway.mode is "remote": none is expected on this host')
  if (!running.running) return gateway.warning('it is not running', { fix: 'openclaw gateway run' })
  if (!running.answers) return gateway.error('it runs, and does not answer its owner', { path: paths.localSocket })
  const report = await inspectGateway({ ...io, isTTY: false }, {}, { timeoutMs, deep, mode: 'local' })
  if (!report.reachable || report.error !== undefined) {
    const { message = 'it does not answer', fix } = report.error ?? {}
    return gateway.error(fix === undefined ? message : `${message}; ${fix}`, {
      path: report.url,
      fix: 'openclaw gateway probe'
    })
  }
  const health = report.health as { ok?: boolean } | undefined
  if (health?.ok === false) return gateway.error('it says of itself that it is not well', { fix: 'openclaw health' })
  if (report.version !== VERSION) {
    return gateway.warning(`version ${report.version} runs, and this command is ${VERSION}: restart the gateway`)
  }
  return gateway.ok(`version ${report.version} answers on ${report.url} in ${report.connectMs} ms`)
}
