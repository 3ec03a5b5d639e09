import type { Connection } from '../client/connect.ts'
import { describeEndpoint } from '../client/target.ts'
import { parseTimeout, type TargetOptions, withGateway } from './gateway-call.ts'
import type { Io } from './io.ts'
import { formatBytes, formatDuration, printJson, printRows, styleOf } from './output.ts'

/** What the summary reads of a `health` answer; every part may be missing. */
interface Health {
  ok?: boolean
  eventLoop?: { degraded?: boolean; delayP99Ms?: number }
  memory?: { rss?: number; rssBytes?: number }
  process?: { rssBytes?: number }
}

/** Asks a gateway for its health and prints it; exit code 1 when it is not well. */
export async function showHealth(io: Io, options: TargetOptions, timeout: number, live: boolean): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout, timeout)
  await withGateway(io, options, { scopes: ['operator.read'], timeoutMs }, async (connection) => {
    const health = await connection.client.request<Health>('health', live ? { probe: true } : {}, { timeoutMs })
    const ok = health?.ok === true
    if (options.json === true) printJson(io, health)
    else printHealth(io, connection, health ?? {})
    io.exit(ok ? 0 : 1)
  })
}

function printHealth(io: Io, { hello, endpoint }: Connection, health: Health): void {
  const style = styleOf(io)
  const bytes = health.memory?.rssBytes ?? health.memory?.rss ?? health.process?.rssBytes
  const loop = health.eventLoop
  io.stdout(health.ok === true ? style.green('Gateway is healthy') : style.red('Gateway is not healthy'))
  printRows(io, [
    ['Version', hello.server.version],
    ['Uptime', formatDuration(hello.snapshot.uptimeMs)],
    ['Memory', bytes === undefined ? undefined : formatBytes(bytes)],
    ['Event loop', eventLoopText(loop)],
    ['Clients', String(clientCount(hello))],
    ['Reached at', describeEndpoint(endpoint)]
  ])
}

function eventLoopText(loop: Health['eventLoop']): string | undefined {
  if (loop === undefined) return undefined
  const delay = loop.delayP99Ms === undefined ? '' : `, p99 delay ${Math.round(loop.delayP99Ms * 10) / 10}ms`
  return `${loop.degraded === true ? 'degraded' : 'ok'}${delay}`
}

/** How many clients a hello shows, beside the gateway itself and the one that asks. */
export function clientCount(hello: Connection['hello']): number {
  const others = hello.snapshot.presence.filter((entry) => entry.mode !== 'gateway' && entry.reason !== 'self')
  return others.length
}
