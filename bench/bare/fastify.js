import fastify from 'fastify'

/** Fastify with two routes and nothing else: the baseline for HTTP, start and memory. */
const app = fastify()

app.get('/healthz', async () => ({ ok: true, status: 'live' }))
app.get('/readyz', async () => ({ ready: true }))
const url = await app.listen({ host: '127.0.0.1', port: Number(process.argv[2] ?? 0) })
process.send?.(Number(new URL(url).port))
// Nobody is left to measure it.
process.on('disconnect', () => process.exit())
