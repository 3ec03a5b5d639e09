import { once } from 'node:events'
import type { ConnectParams } from '../src/protocol/frames.ts'
import { connectParams, nodeHost, RawClient, TestDevice } from '../test/support/client.ts'
import type { Found, Load } from './load.ts'
import { RawSocket, textFrame } from './raw-socket.ts'

const CALLERS = 32
const BURST_MS = 5
const SETTLE_MS = 2_000
const REQUEST = Buffer.from('"event":"node.invoke.request"')
const RESULT = Buffer.from('"id":"r')
const ID = Buffer.from('"id":"')
const OK = Buffer.from('"ok":true')
const QUOTE = 0x22

/** Commands to nodes, so many a second whatever comes of the earlier ones; each node answers at once. */
export async function invokes(load: Load & { kind: 'invokes' }): Promise<Found> {
  const { port, token, nodes: count, rate, seconds } = load
  const nodeIds = await openNodes(load)
  if (token !== undefined) await approveAll(port, token, count)
  const callers = await Promise.all(Array.from({ length: CALLERS }, () => openCaller(port, token)))

  const total = Math.ceil(rate * seconds)
  const sentAt = new Float64Array(total)
  const took = new Float64Array(total)
  let answered = 0
  let errors = 0
  for (const caller of callers) {
    caller.onText = (payload) => {
      const at = payload.indexOf(RESULT)
      if (at < 0) return
      const n = Number(payload.subarray(at + RESULT.length, payload.indexOf(QUOTE, at + RESULT.length)))
      took[n] = performance.now() - sentAt[n]!
      answered++
      if (!payload.subarray(0, 80).includes(OK)) errors++
    }
  }
  // What connecting and approving so many has left to do.
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  process.send?.({ open: count })
  const start = performance.now()
  let sent = 0
  while (sent < total) {
    const now = performance.now()
    const due = Math.min(total, Math.ceil(((now - start) / 1000) * rate))
    const batches: Buffer[][] = callers.map(() => [])
    for (; sent < due; sent++) {
      const params = `"nodeId":"${nodeIds[sent % count]}","command":"system.which","params":{"bins":["ls"]},"idempotencyKey":"k${sent}"`
      batches[sent % CALLERS]!.push(
        textFrame(`{"type":"req","id":"r${sent}","method":"node.invoke","params":{${params}}}`)
      )
      sentAt[sent] = now
    }
    for (const [n, batch] of batches.entries()) if (batch.length > 0) callers[n]!.send(Buffer.concat(batch))
    await new Promise((resolve) => setTimeout(resolve, BURST_MS))
  }
  const deadline = performance.now() + 10_000
  while (answered < total && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  const elapsed = performance.now() - start
  // What is lost is an error, and no fast one.
  errors += total - answered
  // A tenth of the time warms both ends up.
  const counted = took.subarray(Math.floor(total / 10)).sort()
  const at = (share: number): number => counted[Math.min(counted.length - 1, Math.floor(counted.length * share))]!
  return { rate: (answered / elapsed) * 1000, errors, medianMs: at(0.5), p99Ms: at(0.99) }
}

/** Holds nodes that are approved and have nothing to do, until the parent says that it has looked. */
export async function idleNodes(load: Load & { kind: 'nodes' }): Promise<Found> {
  const { port, token, nodes: count } = load
  await openNodes(load)
  if (token !== undefined) await approveAll(port, token, count)
  process.send?.({ open: count })
  await once(process, 'message')
  return { rate: count, errors: 0 }
}

/** Opens the nodes, a few at a time, and gives their ids. */
async function openNodes({ port, token, nodes }: Load & { nodes: number }): Promise<string[]> {
  const ids: string[] = []
  let left = nodes
  const worker = async (): Promise<void> => {
    while (left-- > 0) ids.push(await openNode(port, token))
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  return ids
}

function openNode(port: number, token: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const device = new TestDevice()
    const socket = new RawSocket(port)
    const refused = (payload: Buffer) => reject(new Error(payload.toString()))
    const serve = () => {
      const tail = `,"nodeId":"${device.id}","ok":true,"payload":{"bins":{"ls":"/bin/ls"}}}}`
      let n = 0
      socket.onText = (payload) => {
        if (!payload.subarray(0, 64).includes(REQUEST)) return
        const at = payload.indexOf(ID) + ID.length
        const id = payload.toString('latin1', at, payload.indexOf(QUOTE, at))
        socket.send(
          textFrame(`{"type":"req","id":"${++n}","method":"node.invoke.result","params":{"id":"${id}"${tail}`)
        )
      }
      resolve(device.id)
    }
    socket.onClose = () => reject(new Error('the server closed the socket of a node'))
    if (token === undefined) {
      socket.onText = serve
      socket.onOpen = () => socket.send(request('node', { nodeId: device.id }))
      return
    }
    socket.onText = (payload) => {
      const frame = JSON.parse(payload.toString()) as { event?: string; ok?: boolean; payload: { nonce: string } }
      if (frame.event === 'connect.challenge')
        socket.send(request('connect', hello(device, frame.payload.nonce, token)))
      else if (frame.ok === true) serve()
      else if (frame.ok === false) refused(payload)
    }
  })
}

function hello(device: TestDevice, nonce: string, token: string): ConnectParams {
  const params = connectParams({ client: nodeHost, role: 'node', scopes: [], auth: { token } })
  const offers = { ...params, caps: ['system'], commands: ['system.which'], permissions: {} } as ConnectParams
  return { ...offers, device: device.claim(offers, nonce) }
}

function openCaller(port: number, token: string | undefined): Promise<RawSocket> {
  return new Promise((resolve, reject) => {
    const socket = new RawSocket(port)
    socket.onClose = () => reject(new Error('the server closed the socket of a caller'))
    if (token === undefined) {
      socket.onOpen = () => resolve(socket)
      return
    }
    const params = connectParams({ scopes: ['operator.write'], auth: { token } })
    socket.onText = (payload) => {
      if (payload.subarray(0, 64).includes('connect.challenge')) socket.send(request('connect', params))
      else if (payload.includes(OK)) resolve(socket)
      else reject(new Error(payload.toString()))
    }
  })
}

async function approveAll(port: number, token: string, count: number): Promise<void> {
  const admin = await RawClient.open(`ws://127.0.0.1:${port}`)
  await admin.connect({ auth: { token }, scopes: ['operator.admin'] })
  for (let approved = 0; approved < count; ) {
    const { payload } = await admin.call('node.pair.list', {})
    const pending = payload!.pending as { requestId: string }[]
    for (const { requestId } of pending) await admin.call('node.pair.approve', { requestId })
    approved = (payload!.paired as unknown[]).length + pending.length
  }
  await admin.close()
}

function request(method: string, params: object): Buffer {
  return textFrame(JSON.stringify({ type: 'req', id: method, method, params }))
}
