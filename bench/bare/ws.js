import { WebSocketServer } from 'ws'

// Plain JavaScript: stripping types would cost the baseline time and memory that no baseline has.

/** The least a WebSocket server can do and still answer JSON: the baseline for calls, connects, memory and fan-out. */
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })

server.on('connection', (socket) => {
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data))
    if (frame.method === 'fan') {
      const event = Buffer.alloc(frame.params.bytes, 'x')
      for (const client of server.clients) if (client !== socket) client.send(event, { binary: false })
    }
    socket.send(JSON.stringify({ type: 'res', id: frame.id, ok: true, payload: null }))
  })
})

server.on('listening', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.send?.(address.port)
})
// Nobody is left to measure it.
process.on('disconnect', () => process.exit())
