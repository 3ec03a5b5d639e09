import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'

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
