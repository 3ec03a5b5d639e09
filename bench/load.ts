import { once } from 'node:events'
import { connect } from 'node:net'
import { idleNodes, invokes } from './invokes.ts'
import { RawSocket, textFrame } from './raw-socket.ts'

/** One load: `token` for a gateway (the handshake is done first), none for a bare server. */
export type Load = { port: number; token?: string } & (
  | { kind: 'rpc'; sockets: number; inflight: number; seconds: number }
  | { kind: 'connect'; count: number; concurrency: number }
  | { kind: 'http'; connections: number; pipeline: number; seconds: number }
  | { kind: 'latency'; path: string; count: number }
  | { kind: 'idle'; count: number }
  | { kind: 'fan'; clients: number; rounds: number; bytes?: number }
  | { kind: 'nodes'; nodes: number }
  | { kind: 'invokes'; nodes: number; rate: number; seconds: number }
)

/** What a load found: a rate in things a second; for `latency` and `invokes` how long one took, for `fan` the size of an event. */
export interface Found {
  rate: number
  errors: number
  medianMs?: number
  p99Ms?: number
  bytes?: number
}

const OK = Buffer.from('"ok":true')
const RES = Buffer.from('{"type":"res"')
const EVENT = Buffer.from('{"type":"event"')

function call(id: string, method: string, params: unknown): Buffer {
  return textFrame(JSON.stringify({ type: 'req', id, method, params }))
}

function hello(token: string, scopes: readonly string[]): Buffer {
  const client = { id: 'gateway-client', version: '1', platform: 'linux', mode: 'backend' }
  return call('connect', 'connect', {
    minProtocol: 4,
    maxProtocol: 4,
    client,
    role: 'operator',
    scopes,
    auth: { token }
  })
}

/** Opens a socket and, with a token, connects; resolves when it is ready for calls. */
function open(port: number, token: string | undefined, scopes: readonly string[]): Promise<RawSocket> {
  return new Promise((resolve, reject) => {
    const socket = new RawSocket(port)
    socket.onClose = () => reject(new Error('the server closed the socket'))
    if (token === undefined) {
      socket.onOpen = () => resolve(socket)
      return
    }
    const frame = hello(token, scopes)
    socket.onText = (payload) => {
      if (startsWith(payload, EVENT)) socket.send(frame)
      else if (payload.includes(OK)) resolve(socket)
      else reject(new Error(payload.toString()))
    }
  })
}

function startsWith(payload: Buffer, head: Buffer): boolean {
  return payload.length >= head.length && payload.compare(head, 0, head.length, 0, head.length) === 0
}

/** Opens many sockets, a few at a time: a gateway bounds sockets that have not authenticated yet. */
async function openMany(count: number, port: number, token: string | undefined): Promise<RawSocket[]> {
  const sockets: RawSocket[] = []
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) sockets.push(await open(port, token, ['operator.read']))
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  return sockets
}

async function rpc(load: Load & { kind: 'rpc' }): Promise<Found> {
  const sockets = await openMany(load.sockets, load.port, load.token)
  // Ids rotate, so that none is in flight twice.
  const frames = Array.from({ length: 64 }, (_, index) => call(`r${index}`, 'last-heartbeat', {}))
  let done = 0
  let errors = 0
  let running = true
  for (const socket of sockets) {
    let next = 0
    socket.onText = (payload) => {
      if (!startsWith(payload, RES)) return
      if (payload.subarray(0, 80).includes(OK)) done++
      else errors++
      if (running) socket.send(frames[next++ % 64]!)
    }
    for (let index = 0; index < load.inflight; index++) socket.send(frames[next++ % 64]!)
  }
  // A third of the time warms both ends up.
  await new Promise((resolve) => setTimeout(resolve, load.seconds * 333))
  done = 0
  const start = performance.now()
  await new Promise((resolve) => setTimeout(resolve, load.seconds * 1000))
  const rate = (done / (performance.now() - start)) * 1000
  running = false
  return { rate, errors }
}

async function connects(load: Load & { kind: 'connect' }): Promise<Found> {
  let left = load.count
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const socket = await open(load.port, load.token, ['operator.admin'])
      const closed = new Promise<void>((resolve) => {
        socket.onClose = resolve
      })
      socket.end()
      await closed
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: load.concurrency }, worker))
  return { rate: (load.count / (performance.now() - start)) * 1000, errors: 0 }
}

async function http(load: Load & { kind: 'http' }): Promise<Found> {
  const request = Buffer.from(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${load.port}\r\n\r\n`.repeat(load.pipeline))
  const size = await responseSize(load.port)
  let bytes = 0
  let running = true
  let stray = 0
  const sockets = Array.from({ length: load.connections }, () => {
    const socket = connect(load.port, '127.0.0.1')
    let waiting = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
      waiting -= chunk.length
      if (waiting < 0) stray++
      if (waiting > 0 || !running) return
      waiting = size * load.pipeline
      socket.write(request)
    })
    socket.on('connect', () => {
      waiting = size * load.pipeline
      socket.write(request)
    })
    return socket
  })
  await new Promise((resolve) => setTimeout(resolve, load.seconds * 333))
  bytes = 0
  const start = performance.now()
  await new Promise((resolve) => setTimeout(resolve, load.seconds * 1000))
  const rate = (bytes / size / (performance.now() - start)) * 1000
  running = false
  for (const socket of sockets) socket.destroy()
  return { rate, errors: stray }
}

/** Bytes of one answer, headers included: every answer of a route has the same size, so bytes count answers. */
async function responseSize(port: number): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  if (!startsWith(chunk, Buffer.from('HTTP/1.1 200'))) throw new Error(chunk.toString())
  return chunk.length
}

/** One request after the other on one connection, with the token as its bearer. */
async function latency({ port, token, path, count }: Load & { kind: 'latency' }): Promise<Found> {
  const bearer = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`
  const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${bearer}\r\n`
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const took: number[] = []
  let errors = 0
  // As many to warm up as are counted.
  for (let i = 0; i < count * 2; i++) {
    const start = performance.now()
    socket.write(request)
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    if (i >= count) took.push(performance.now() - start)
    if (!startsWith(chunk, Buffer.from('HTTP/1.1 200'))) errors++
  }
  socket.destroy()
  const medianMs = took.sort((a, b) => a - b)[count >> 1]!
  return { rate: 1000 / medianMs, errors, medianMs }
}

/** Holds sockets open until the parent says that it has looked. */
async function idle(load: Load & { kind: 'idle' }): Promise<Found> {
  const sockets = await openMany(load.count, load.port, load.token)
  process.send?.({ open: sockets.length })
  await once(process, 'message')
  return { rate: sockets.length, errors: 0 }
}

async function fan(load: Load & { kind: 'fan' }): Promise<Found> {
  const sockets = await openMany(load.clients, load.port, load.token)
  const source = await open(load.port, load.token, ['operator.admin'])
  let got = 0
  let bytes = 0
  let arrived: () => void = () => {}
  // Only the event that was asked for counts: a tick or a health event may pass by.
  const wanted = Buffer.from(load.token === undefined ? 'x' : '"event":"presence"')
  for (const socket of sockets) {
    socket.onText = (payload) => {
      if (!payload.subarray(0, 64).includes(wanted)) return
      bytes = payload.length
      if (++got === sockets.length) arrived()
    }
  }
  const round = (index: number): Promise<void> =>
    new Promise((resolve) => {
      got = 0
      arrived = resolve
      const params = load.token === undefined ? { bytes: load.bytes } : { text: 'bench', reason: 'bench' }
      source.send(call(`f${index}`, load.token === undefined ? 'fan' : 'system-event', params))
    })
  await round(-1)
  const start = performance.now()
  for (let index = 0; index < load.rounds; index++) await round(index)
  return { rate: ((load.rounds * sockets.length) / (performance.now() - start)) * 1000, errors: 0, bytes }
}

/** Runs a load in this process. */
export async function run(load: Load): Promise<Found> {
  if (load.kind === 'rpc') return rpc(load)
  if (load.kind === 'connect') return connects(load)
  if (load.kind === 'http') return http(load)
  if (load.kind === 'latency') return latency(load)
  if (load.kind === 'idle') return idle(load)
  if (load.kind === 'nodes') return idleNodes(load)
  if (load.kind === 'invokes') return invokes(load)
  return fan(load)
}

if (import.meta.main) {
  process.on('disconnect', () => process.exit())
  process.send?.({ found: await run(JSON.parse(process.argv[2]!) as Load) })
  process.exit()
}
