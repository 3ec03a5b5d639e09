import { request } from 'node:http'
import { connect } from 'node:net'

/** Where a request goes: a port of 127.0.0.1, or a Unix socket. */
export type Place = number | string

/** One HTTP request by itself; resolves with everything that came back. */
export function http(
  place: Place,
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const length: Record<string, number> = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const to = typeof place === 'string' ? { socketPath: place } : { host: '127.0.0.1', port: place }
    const req = request({ ...to, method, path, headers: { ...headers, ...length }, agent: false }, async (res) => {
      let text = ''
      for await (const chunk of res.setEncoding('utf8')) {
        text += chunk
        // A stream of events has no end.
        if (res.headers['content-type']?.startsWith('text/event-stream')) break
      }
      resolve([res.statusCode, res.headers, text])
    })
    req.on('error', reject)
    req.end(body)
  })
}

/** What a port answers to bytes that no client would send. */
export async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  // Its latin1 bytes, so that C1 controls are what goes over the wire.
  socket.end(Buffer.from(text, 'latin1'))
  let answer = ''
  for await (const chunk of socket.setEncoding('utf8')) answer += chunk
  return answer
}
