import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** A proxy that says of every request who it is from. */
export interface IdentityProxy {
  port: number
  /** What it adds to every request from now on. */
  headers: Record<string, string>
}

/** Starts a proxy on loopback, whose requests all come from 203.0.113.7, in front of what `lead` leads to. */
export async function startIdentityProxy(t: Test): Promise<IdentityProxy & { lead(to: Upstream): void }> {
  let upstream: Upstream | undefined
  const proxy = { port: 0, headers: {} as Record<string, string>, lead }
  const onward = ({ method, url, headers }: IncomingMessage) =>
    request({
      ...upstream,
      method: method!,
      path: url!,
      agent: false,
      headers: { ...headers, 'x-forwarded-for': '203.0.113.7', ...proxy.headers }
    })
  const server = createServer((incoming, response) => {
    const ask = onward(incoming)
    ask.on('error', () => response.destroy())
    ask.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    incoming.pipe(ask)
  })
  server.on('upgrade', (incoming, socket) => {
    const ask = onward(incoming)
    socket.on('error', () => {})
    ask.on('error', () => socket.destroy())
    ask.on('response', () => socket.destroy())
    ask.on('upgrade', (answer, backend, first) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`)
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`)
      socket.write(first)
      backend.on('error', () => socket.destroy()).on('close', () => socket.destroy())
      socket.on('close', () => backend.destroy())
      socket.pipe(backend).pipe(socket)
    })
    ask.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  proxy.port = (server.address() as AddressInfo).port
  return proxy

  function lead(to: Upstream): void {
    upstream = to
  }
}

/** Where a proxy leads: a port of this machine, or a socket. */
export type Upstream = { port: number } | { socketPath: string }
