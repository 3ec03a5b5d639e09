import { WebSocketServer } from 'ws'

// Plain JavaScript: stripping types would cost the baseline time and memory that no baseline has.

/** The least that carries a command to a node and its result back: the baseline for invocations. */
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
const nodes = new Map()
const callers = new Map()
let next = 0

server.on('connection', (socket) => {
  socket.on('message', (data) => {
    const { id, method, params } = JSON.parse(String(data))
    if (method === 'node') nodes.set(params.nodeId, socket)
    if (method === 'node.invoke') {
      const payload = { ...params, id: `i${++next}` }
      callers.set(payload.id, { socket, id })
      nodes.get(params.nodeId).send(JSON.stringify({ type: 'event', event: 'node.invoke.request', payload }))
      return
    }
    const caller = callers.get(params.id)
    if (caller !== undefined) {
      callers.delete(params.id)
      caller.socket.send(JSON.stringify({ type: 'res', id: caller.id, ok: true, payload: params }))
    }
    socket.send(JSON.stringify({ type: 'res', id, ok: true, payload: { ok: true } }))
  })
})

server.on('listening', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.send?.(address.port)
})
// Nobody is left to measure it.
process.on('disconnect', () => process.exit())
