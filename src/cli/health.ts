import { certificateText } from '../client/certificate.ts'
import type { Connection } from '../client/connect.ts'
import { describeEndpoint } from '../client/target.ts'
import { credentialName, tunnelText } from './connection-words.ts'
import { parseTimeout, placesOf, type TargetOptions, withGateway } from './gateway-call.ts'
import type { Io } from './io.ts'
import { formatBytes, formatDuration, printJson, printRows, styleOf } from './output.ts'

/** What the summary reads of a `health` answer; every part may be missing. */
interface Health {
  ok?: boolean
  eventLoop?: { degraded?: boolean; delayP99Ms?: number }
}

/** What is read of a `status` answer; every part may be missing. */
export interface Status {
  gateway?: {
    port?: number
    tls?: { enabled?: boolean; fingerprint?: string; notAfter?: string; problem?: string }
    discovery?: { announced?: { network?: string; name?: string }[]; problems?: { reason?: string }[] }
    tailscale?: { mode?: string; phase?: string; url?: string; error?: string; fix?: { command?: string } }
  }
  configReload?: { problem?: string; restart?: readonly string[] }
  memory?: { rssBytes?: number }
  connections?: { total?: number }
}

/**
 * Asks a gateway for its health and prints it; exit code 1 when it is not well. With `verbose` it looks anew, and how it was
 * reached is shown too.
 */
export async function showHealth(io: Io, options: TargetOptions, timeout: number, verbose: boolean): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout, timeout)
  await withGateway(io, options, { scopes: ['operator.read'], timeoutMs }, async (connection) => {
    const asked = connection.client.request<Health>('health', verbose ? { probe: true } : {}, { timeoutMs })
    if (options.json === true) {
      const health = await asked
      printJson(io, health)
      return io.exit(health?.ok === true ? 0 : 1)
    }
    // The answer of `health` is the reference's, which knows nothing of memory and clients.
    const about = connection.client.request<Status>('status', {}, { timeoutMs }).catch((): Status => ({}))
    const [health, status] = await Promise.all([asked, about])
    printHealth(io, connection, health, status)
    if (verbose) printConnection(io, connection)
    io.exit(health?.ok === true ? 0 : 1)
  })
}

function printHealth(io: Io, { hello, endpoint }: Connection, health: Health, status: Status): void {
  const style = styleOf(io)
  const bytes = status.memory?.rssBytes
  const clients = clientCount(status)
  io.stdout(health?.ok === true ? style.green('Gateway is healthy') : style.red('Gateway is not healthy'))
  printRows(io, [
    ['Version', hello.server.version],
    ['Uptime', formatDuration(hello.snapshot.uptimeMs)],
    ['Memory', bytes === undefined ? undefined : formatBytes(bytes)],
    ['Event loop', eventLoopText(health?.eventLoop)],
    ['Clients', clients === undefined ? undefined : String(clients)],
    ['Reached at', describeEndpoint(endpoint)]
  ])
}

function printConnection(io: Io, { hello, endpoint, credentials, tls, tunnel }: Connection): void {
  const { method, role, scopes } = hello.auth
  printRows(io, [
    ['Found by', endpoint.source],
    ['Signed in', `${method} (${credentialName({ endpoint, credentials })})`],
    ['As', `${role}: ${scopes.join(', ') || 'no scopes'}`],
    ['Certificate', tls && `${certificateText(tls.certificate)}; trusted by ${tls.by}`],
    ['Tunnel', tunnelText(tunnel)],
    ['Config', placesOf(io).paths.configPath]
  ])
}

function eventLoopText(loop: Health['eventLoop']): string | undefined {
  if (loop === undefined) return undefined
  const delay = loop.delayP99Ms === undefined ? '' : `, p99 delay ${Math.round(loop.delayP99Ms * 10) / 10}ms`
  return `${loop.degraded === true ? 'degraded' : 'ok'}${delay}`
}

/** How many clients a gateway has, beside the one that asks. */
export function clientCount(status: Status): number | undefined {
  const total = status.connections?.total
  return total === undefined ? undefined : Math.max(0, total - 1)
}

/** Where a gateway says it is reached from its own host; `port` stands in for one that does not say. */
export function loopbackUrl({ gateway }: Status, port: number): string {
  return `${gateway?.tls?.enabled === true ? 'wss' : 'ws'}://127.0.0.1:${gateway?.port ?? port}`
}
