import { platform } from 'node:os'
import { type ClientState, type DeviceSigner, GatewayClient, type GatewayError } from '../client/core.ts'
import type { Way } from '../client/way.ts'
import { VERSION } from '../package.ts'
import type { EventFrame, HelloOk } from '../protocol/frames.ts'
import { type Announced, Announcer } from './announce.ts'
import type { NodeCommand } from './command.ts'
import type { NodeCredentials } from './credentials.ts'
import { Invocations } from './invocations.ts'
import type { NodeLog } from './log.ts'
import type { NodeTarget } from './target.ts'
import { patience, type Trouble, troubleOf } from './trouble.ts'

/** What a node host is made of. */
export interface NodeHostOptions {
  target: NodeTarget
  /** Settles the way to the gateway, for each connection anew. */
  way(): Promise<Way>
  identity: DeviceSigner
  credentials: NodeCredentials
  instanceId: string
  displayName: string
  /** The PATH that commands are looked for on. */
  path: string | undefined
  commands: readonly NodeCommand[]
  announced: Announced
  log: NodeLog
  /** Hears why there is no connection, and that there is one again. */
  onTrouble?(trouble: Trouble): void
  onConnected?(hello: HelloOk): void
}

const HANDSHAKE_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 5_000

/** A headless node: it keeps one connection to its gateway up, for ever, and does what the gateway invokes. */
export class NodeHost {
  readonly #options: NodeHostOptions
  readonly #client: GatewayClient
  readonly #announcer: Announcer
  readonly #invocations: Invocations
  #way: Way | undefined
  readonly #stopped = Promise.withResolvers<void>()
  /** What the gateway gave this node is on disk: without it, a code that let it in once would be lost. */
  #kept: Promise<void> | undefined

  constructor(options: NodeHostOptions) {
    this.#options = options
    const { identity, credentials, commands, log } = options
    this.#invocations = new Invocations(identity.id, commands, (facts, message) => log.warn(facts, message))
    this.#client = new GatewayClient({
      createSocket: async () => {
        this.#way = await options.way()
        return this.#way.open()
      },
      client: {
        id: 'node-host',
        mode: 'node',
        version: VERSION,
        platform: platform(),
        deviceFamily: platform() === 'darwin' ? 'Mac' : 'Linux',
        displayName: options.displayName,
        instanceId: options.instanceId
      },
      role: 'node',
      caps: [...new Set(commands.map(({ cap }) => cap))].sort(),
      params: {
        commands: commands.map(({ name }) => name),
        ...(options.path === undefined ? {} : { pathEnv: options.path })
      },
      auth: () => credentials.claim(),
      device: identity,
      reconnect: true,
      retry: (error, attempt) => this.#retry(error, attempt),
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      onHello: (hello) => this.#welcomed(hello),
      onEvent: (frame) => this.#event(frame),
      onState: (state) => this.#state(state)
    })
    this.#announcer = new Announcer(this.#client, options.announced, log)
  }

  /** Connects, and comes back after every loss, until it is stopped. */
  async run(): Promise<void> {
    // The first hello is not the end of it, and it never gives up.
    this.#client.connect().catch(() => {})
    await this.#stopped.promise
  }

  /** Tells the gateway that the tools have changed. */
  toolsChanged(): void {
    void this.#announcer.tools()
  }

  /** Ends everything that runs, and hangs up. */
  async stop(): Promise<void> {
    this.#announcer.end()
    this.#invocations.abandon('the node is stopping')
    await this.#invocations.settled(STOP_TIMEOUT_MS)
    await this.#kept
    this.#client.close()
  }

  #welcomed(hello: HelloOk): void {
    const { credentials, log } = this.#options
    this.#kept = Promise.all([
      credentials.accepted(hello.auth.deviceToken).catch((err) => log.warn({ err }, 'device token not kept')),
      this.#way?.tls?.remember().catch((err) => log.warn({ err }, 'certificate not kept'))
    ]).then(() => {})
    this.#options.onConnected?.(hello)
    void this.#announcer.begin()
  }

  #event({ event, payload }: EventFrame): void {
    if (typeof payload !== 'object' || payload === null) return
    if (event === 'node.invoke.request') this.#invocations.request(payload, this.#client)
    else if (event === 'node.invoke.cancel') this.#invocations.cancel(payload)
    else if (event === 'node.invoke.input') this.#invocations.input(payload)
    else if (event === 'node.pair.resolved') this.#decided(payload)
    else if (event === 'shutdown') this.#options.log.info({ ...payload }, 'gateway stopping')
  }

  #decided(payload: object): void {
    const { nodeId, decision } = payload as { nodeId?: unknown; decision?: unknown }
    if (nodeId !== this.#options.identity.id) return
    this.#options.log.info({ decision }, 'commands of this node decided')
    if (decision === 'approved') void this.#announcer.all()
  }

  #state(state: ClientState): void {
    if (state.phase === 'open') return
    this.#announcer.end()
    // Whoever waited for them has been told that the node is gone.
    this.#invocations.abandon('the gateway is gone')
    if (state.phase === 'stopped') this.#stopped.resolve()
  }

  #retry(error: GatewayError, attempt: number): number {
    const { credentials, target } = this.#options
    // Another credential is at hand, and nobody need be told.
    if (credentials.refused(error)) return 0
    const trouble = troubleOf(error, target.url.href, target.destination === 'explicit')
    this.#options.onTrouble?.(trouble)
    return patience(error, trouble.needs, attempt)
  }
}
