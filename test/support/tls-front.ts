import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { createServer } from 'node:tls'
import type { Test } from 'tap'
import type { Pair } from '../../src/tls/generate.ts'

/** A TLS server in front of something else, that writes down what it decrypts. */
export interface TlsFront {
  /** `wss://127.0.0.1:PORT` */
  wss: string
  port: number
  /** Everything that the clients which came since the last look have sent inside TLS. */
  taken(): string
  /** TCP connections so far. */
  connections(): number
  /** Shows another certificate from now on. */
  show(pair: Pair): void
}

/** Ends TLS before a port of this host, or before a fixed answer that each connection gets. */
export async function tlsFront(t: Test, pair: Pair, behind: number | string): Promise<TlsFront> {
  let received: string[] = []
  let connections = 0
  const open = new Set<{ destroy(): void }>()
  const server = createServer(pair, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    // One that is about to say goodbye counts no more once it was looked at.
    const mine = received
    const index = mine.push('') - 1
    socket.on('data', (chunk) => {
      mine[index] += chunk.toString('latin1')
    })
    if (typeof behind === 'string') {
      socket.once('data', () => socket.end(behind))
      return
    }
    const inner = connect(behind, '127.0.0.1')
    open.add(inner)
    inner.on('error', () => socket.destroy())
    socket.on('close', () => inner.destroy())
    socket.pipe(inner).pipe(socket)
  })
  server.on('connection', () => {
    connections += 1
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    wss: `wss://127.0.0.1:${port}`,
    port,
    taken() {
      const text = received.join('')
      received = []
      return text
    },
    connections: () => connections,
    show: (next) => server.setSecureContext(next)
  }
}
