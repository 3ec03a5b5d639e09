import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttp, type Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { type OpenedNode, type OpenNode, openNode } from '../../src/cli/node-process.ts'
import { withDotenv } from '../../src/config/env.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import type { Trouble } from '../../src/node-host/trouble.ts'
import type { ConnectParams } from '../../src/protocol/frames.ts'
import { tempDir } from './gateway.ts'

type Json = Record<string, unknown>

/** How a connect is answered: accepted, or refused as a gateway refuses. */
export type Answer =
  | { deviceToken?: string; tickIntervalMs?: number }
  | { code: string; message: string; details?: Json }

/** What came of an invocation: the node's `node.invoke.result`, its payload parsed. */
export interface Result {
  ok: boolean
  payload?: unknown
  error?: { code: string; message: string }
}

/** A gateway as a node sees one: it speaks the protocol's node frames over a real socket, and keeps all it is told. */
export class NodeGateway {
  readonly links: NodeLink[] = []
  readonly #server: Server
  readonly #sockets: WebSocketServer
  readonly #waiting = new Set<() => void>()
  /** Decides about each connect; a test may change it at any time. */
  answer: (params: ConnectParams, n: number) => Answer = () => ({ deviceToken: 'device-token-1' })
  /** Requests that are answered with an error, by method. */
  readonly refuse = new Map<string, { code: string; message: string }>()

  private constructor(server: Server) {
    this.#server = server
    this.#sockets = new WebSocketServer({ server })
    this.#sockets.on('connection', (socket) => {
      const link = new NodeLink(socket, this, this.links.length)
      this.links.push(link)
      for (const look of [...this.#waiting]) look()
    })
  }

  /** Starts one on a port of 127.0.0.1. */
  static async start(t: Test, { port = 0, tls }: { port?: number; tls?: { key: string; cert: string } } = {}) {
    const server = tls === undefined ? createHttp() : createHttps(tls)
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const gateway = new NodeGateway(server as Server)
    t.teardown(() => gateway.stop())
    return gateway
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** The n-th connection (from 0), once it is accepted. */
  async link(n = 0): Promise<NodeLink> {
    const link = await this.attempt(n)
    await link.accepted
    return link
  }

  /** The n-th connection (from 0), however it ends. */
  attempt(n = 0): Promise<NodeLink> {
    return new Promise((resolve) => {
      const look = () => {
        const link = this.links[n]
        if (link === undefined) return
        this.#waiting.delete(look)
        resolve(link)
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** Goes away without a word, as a process that is killed does. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#sockets.close()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** One connection of a node. */
export class NodeLink {
  readonly socket: WebSocket
  readonly requests: { method: string; params: Json }[] = []
  /** Resolves with the connect params once the node is let in. */
  readonly accepted: Promise<ConnectParams>
  readonly closed: Promise<number>
  readonly #gateway: NodeGateway
  readonly #look = new Set<() => void>()
  #accept!: (params: ConnectParams) => void
  params: ConnectParams | undefined

  constructor(socket: WebSocket, gateway: NodeGateway, n: number) {
    this.socket = socket
    this.#gateway = gateway
    this.accepted = new Promise((resolve) => {
      this.#accept = resolve
    })
    this.closed = once(socket, 'close').then(([code]) => code as number)
    socket.on('error', () => {})
    socket.on('message', (data) => this.#take(JSON.parse(String(data)), n))
    this.event('connect.challenge', { nonce: randomUUID(), ts: Date.now() })
  }

  get nodeId(): string {
    return this.params?.device?.id ?? ''
  }

  event(event: string, payload: unknown): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: 'event', event, payload }))
  }

  /** Asks the node to do something, without waiting. */
  start(command: string, params?: unknown, more: Json = {}): string {
    const id = randomUUID()
    const paramsJSON =
      params === undefined ? {} : { paramsJSON: typeof params === 'string' ? params : JSON.stringify(params) }
    this.event('node.invoke.request', { id, nodeId: this.nodeId, command, ...paramsJSON, ...more })
    return id
  }

  /** Asks the node to do something, and waits for its result. */
  async invoke(command: string, params?: unknown, more: Json = {}): Promise<Result> {
    return this.result(this.start(command, params, more))
  }

  /** Waits for the result of an invocation. */
  async result(id: string): Promise<Result> {
    const { params } = await this.request('node.invoke.result', (each) => each.id === id)
    const { ok, payloadJSON, error } = params
    return {
      ok: ok as boolean,
      ...(payloadJSON === undefined ? {} : { payload: JSON.parse(payloadJSON as string) }),
      ...(error === undefined ? {} : { error: error as { code: string; message: string } })
    }
  }

  /** Waits for a request of a method that fits. */
  request(method: string, fits: (params: Json) => boolean = () => true): Promise<{ method: string; params: Json }> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.requests.find((each) => each.method === method && fits(each.params))
        if (found === undefined) return
        this.#look.delete(look)
        resolve(found)
      }
      this.#look.add(look)
      look()
    })
  }

  /** The `node.event` of a name that fits, its payload parsed. */
  async told(event: string, fits: (payload: Json) => boolean = () => true): Promise<Json> {
    const payloadOf = (params: Json) => JSON.parse(params.payloadJSON as string) as Json
    const { params } = await this.request('node.event', (each) => each.event === event && fits(payloadOf(each)))
    return payloadOf(params)
  }

  /** The progress of an invocation so far: its chunks, in the order of their numbers. */
  progress(id: string): string[] {
    const frames = this.requests.filter(
      ({ method, params }) => method === 'node.invoke.progress' && params.invokeId === id
    )
    return frames
      .sort((a, b) => Number(a.params.seq) - Number(b.params.seq))
      .map(({ params }) => params.chunk as string)
  }

  #take(frame: { id: string; method: string; params: Json }, n: number): void {
    const reply = (body: Json) => this.socket.send(JSON.stringify({ type: 'res', id: frame.id, ...body }))
    if (frame.method === 'connect') {
      this.params = frame.params as unknown as ConnectParams
      const answer = this.#gateway.answer(this.params, n)
      if ('code' in answer) {
        reply({ ok: false, error: answer })
        this.socket.close(1008, answer.message.slice(0, 100))
        return
      }
      reply({ ok: true, payload: helloOk(answer) })
      this.#accept(this.params)
      return
    }
    this.requests.push({ method: frame.method, params: frame.params })
    const refused = this.#gateway.refuse.get(frame.method)
    reply(refused === undefined ? { ok: true, payload: { ok: true } } : { ok: false, error: refused })
    for (const look of [...this.#look]) look()
  }
}

function helloOk({ deviceToken, tickIntervalMs = 30_000 }: { deviceToken?: string; tickIntervalMs?: number }): Json {
  return {
    type: 'hello-ok',
    protocol: 4,
    server: { version: 'test', buildId: 'test', bootId: 'test', controlUiBuildSource: 'bundled', connId: randomUUID() },
    features: { methods: [], events: [], capabilities: [] },
    snapshot: { presence: [], health: {}, stateVersion: { presence: 1, health: 1 }, uptimeMs: 1 },
    auth: { method: 'token', role: 'node', scopes: [], ...(deviceToken === undefined ? {} : { deviceToken }) },
    policy: { maxPayload: 26_214_400, maxBufferedBytes: 52_428_800, tickIntervalMs }
  }
}

/** A node host in this process, with a state folder of its own. */
export interface TestNode extends OpenedNode {
  stateDir: string
  /** Why there was no connection, each time. */
  troubles: Trouble[]
  /** Resolves once there was a trouble that fits. */
  trouble(fits: (trouble: Trouble) => boolean): Promise<Trouble>
  /** Resolves once it has connected so many times. */
  connected(times?: number): Promise<void>
  said: string[]
}

/** Starts the node host of this repository in this process. */
export async function startNode(
  t: Test,
  options: Partial<Omit<OpenNode, 'say' | 'onTrouble'>> & { stateDir?: string; env?: Record<string, string> } = {}
): Promise<TestNode> {
  const stateDir = options.stateDir ?? join(tempDir(t), 'state')
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, PATH: process.env.PATH ?? '', ...options.env }
  const troubles: Trouble[] = []
  const said: string[] = []
  let connections = 0
  const looks = new Set<() => void>()
  const opened = await openNode({
    paths: resolvePaths(env),
    env: withDotenv(env, stateDir),
    ownEnv: env,
    cwd: tempDir(t),
    flags: {},
    instanceId: undefined,
    displayName: undefined,
    ...without(options, 'env', 'stateDir'),
    say: (text) => said.push(text),
    onTrouble: (trouble) => {
      if (trouble !== undefined) troubles.push(trouble)
      else connections++
      for (const look of [...looks]) look()
    }
  })
  if ('heldBy' in opened) throw new Error(`process ${opened.heldBy} already runs this node`)
  t.teardown(() => opened.stop())
  const when = <T>(find: () => T | undefined) =>
    new Promise<T>((resolve) => {
      const look = () => {
        const found = find()
        if (found === undefined) return
        looks.delete(look)
        resolve(found)
      }
      looks.add(look)
      look()
    })
  return {
    ...opened,
    stateDir,
    troubles,
    trouble: (fits) => when(() => troubles.find(fits)),
    connected: async (times = 1) => void (await when(() => (connections >= times ? true : undefined))),
    said
  }
}

function without<T extends object, K extends keyof T>(value: T, ...keys: K[]): Omit<T, K> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key as K))) as Omit<T, K>
}

/** A node that is connected to a gateway of its own. */
export async function connectedNode(
  t: Test,
  options: Parameters<typeof startNode>[1] = {}
): Promise<{ gateway: NodeGateway; node: TestNode; link: NodeLink }> {
  const gateway = await NodeGateway.start(t)
  const node = await startNode(t, { ...options, flags: { host: '127.0.0.1', port: gateway.port, ...options.flags } })
  await node.connected()
  return { gateway, node, link: await gateway.link() }
}
