import type { FastifyInstance } from 'fastify'
import type { Metric, Registry } from 'prom-client'
import { Type } from 'typebox'
import { type InvokeStats, LATENCY_BOUNDS } from '../nodes/invoke-stats.ts'

const schema = {
  summary: 'Metrics, for Prometheus',
  response: { 200: { content: { 'text/plain': { schema: Type.String() } } } }
}

/** `GET /metrics` in Prometheus' text format. The library is loaded at the first scrape, not at the start. */
export default async function metrics(app: FastifyInstance): Promise<void> {
  let registry: Promise<{ contentType: string; metrics(): Promise<string> }> | undefined

  app.get('/metrics', { config: { surface: 'http-api', scope: 'operator.read' }, schema }, async (_request, reply) => {
    registry ??= build().catch((error) => {
      registry = undefined
      throw error
    })
    const { contentType, metrics } = await registry
    return reply.type(contentType).send(await metrics())
  })

  async function build() {
    const { Gauge, Registry, collectDefaultMetrics } = await import('prom-client')
    const registry = new Registry()
    collectDefaultMetrics({ register: registry })
    gauge('openclaw_connections', 'Connected WebSocket clients by role', ['role'], (set) => {
      const count = { operator: 0, node: 0 }
      for (const { caller } of app.hub) if (caller !== undefined) count[caller.role]++
      for (const [role, value] of Object.entries(count)) set(value, { role })
    })
    gauge('openclaw_event_streams', 'Open streams of events over HTTP', [], (set) => set(app.hub.streams.size))
    gauge('openclaw_uptime_seconds', 'Seconds since the gateway started', [], (set) => set(app.health.uptimeMs / 1000))
    gauge('openclaw_info', 'Constant 1, labelled with the version', ['version'], (set) =>
      set(1, { version: app.serverInfo.version })
    )
    countInvokes(registry, app.nodes.broker.stats)
    return { contentType: registry.contentType, metrics: () => registry.metrics() }

    function gauge(
      name: string,
      help: string,
      labelNames: string[],
      collect: (set: (value: number, labels?: Record<string, string>) => void) => void
    ) {
      new Gauge({
        name,
        help,
        labelNames,
        registers: [registry],
        collect() {
          collect((value, labels = {}) => this.set(labels, value))
        }
      })
    }
  }
}

// The broker has counted already; a metric that counts by itself would do it twice.
function countInvokes(registry: Registry, stats: InvokeStats): void {
  const outcomes = 'openclaw_node_invokes_total'
  register(outcomes, 'Commands that nodes were asked for, by how they ended', 'counter', () =>
    Object.entries(stats.outcomes).map(([outcome, value]) => ({ value, labels: { outcome } }))
  )
  const seconds = 'openclaw_node_invoke_seconds'
  register(seconds, 'How long those took that a node answered', 'histogram', () => {
    let count = 0
    const buckets = stats.classes.map((each, at) => {
      count += each
      const labels = { le: String(LATENCY_BOUNDS[at] ?? '+Inf') }
      return { metricName: `${seconds}_bucket`, value: count, labels }
    })
    return [
      ...buckets,
      { metricName: `${seconds}_sum`, value: stats.seconds, labels: {} },
      { metricName: `${seconds}_count`, value: count, labels: {} }
    ]
  })

  function register(name: string, help: string, type: string, values: () => object[]): void {
    const metric = { name, get: async () => ({ name, help, type, values: values() }) }
    registry.registerMetric(metric as unknown as Metric)
  }
}
