import type { Test } from 'tap'
import type { ConnectParams } from '../../src/protocol/frames.ts'
import { nodeHost, RawClient, TestDevice } from './client.ts'
import { TOKEN } from './gateway.ts'

type Json = Record<string, unknown>

/** What a gateway answered. */
export type Answer = Awaited<ReturnType<RawClient['call']>>

/** A request that a node received. */
export interface InvokeRequest {
  id: string
  nodeId: string
  command: string
  paramsJSON: string | null
  timeoutMs: number
  idempotencyKey: string
}

/** A client with these scopes, closed after the test. */
export function operator(t: Test, url: string, ...scopes: string[]): Promise<RawClient> {
  return operatorAt(t, url, TOKEN, ...scopes)
}

/** The same at a gateway with a token of its own. */
export async function operatorAt(t: Test, url: string, token: string, ...scopes: string[]): Promise<RawClient> {
  const client = await RawClient.open(url)
  t.teardown(() => client.close())
  const { ok, error } = await client.connect({
    auth: { token },
    scopes: scopes.length === 0 ? ['operator.admin'] : scopes
  })
  if (!ok) throw new Error(error?.message)
  return client
}

/** A node on a socket of its own, which does what a test says. */
export class TestNode {
  readonly client: RawClient
  readonly device: TestDevice
  #taken = 0

  private constructor(client: RawClient, device: TestDevice) {
    this.client = client
    this.device = device
  }

  /** Connects a node that offers this; the same device is the same node. */
  static async connect(
    t: Test,
    url: string,
    { device = new TestDevice(), ...more }: Omit<Partial<ConnectParams>, 'device'> & { device?: TestDevice } = {}
  ): Promise<TestNode> {
    const client = await RawClient.open(url)
    t.teardown(() => client.close())
    const params = { auth: { token: TOKEN }, client: nodeHost, role: 'node', scopes: [], ...offer, ...more }
    const { ok, error } = await client.connect(params, device)
    if (!ok) throw new Error(error?.message)
    return new TestNode(client, device)
  }

  get id(): string {
    return this.device.id
  }

  /** The next request that nobody has taken yet. */
  async request(): Promise<InvokeRequest> {
    const { payload } = await this.client.event('node.invoke.request', ++this.#taken)
    return payload as unknown as InvokeRequest
  }

  /** Requests that nobody has taken yet. */
  get untaken(): number {
    return this.client.events.filter(({ event }) => event === 'node.invoke.request').length - this.#taken
  }

  /** Answers a request. */
  result(id: string, result: Json): Promise<Answer> {
    return this.client.call('node.invoke.result', { id, nodeId: this.id, ...result })
  }
}

const offer = { caps: ['system'], commands: ['system.run', 'system.which'], permissions: {} }

/** Waits for the request of a node, and approves it. */
export async function approve(admin: RawClient, nodeId: string): Promise<string> {
  const requestId = await requestOf(admin, nodeId)
  const { ok, error } = await admin.call('node.pair.approve', { requestId })
  if (!ok) throw new Error(error?.message)
  return requestId
}

/** Waits for the latest request of a node. */
export async function requestOf(admin: RawClient, nodeId: string): Promise<string> {
  for (let n = 1; ; n++) {
    const { pending } = (await admin.call('node.pair.list', {})).payload as {
      pending: { nodeId: string; requestId: string }[]
    }
    const found = pending.find((each) => each.nodeId === nodeId)
    if (found !== undefined) return found.requestId
    await admin.event('node.pair.requested', n)
  }
}

let keys = 0

/** A key that no other request has. */
export const freshKey = (): string => `key-${++keys}`

/** Connects a node, and has what it offers approved. */
export async function approvedNode(t: Test, url: string, params: Parameters<typeof TestNode.connect>[2] = {}) {
  const node = await TestNode.connect(t, url, params)
  await approve(await operator(t, url), node.id)
  return node
}

/** The nodes that are connected, once there are so many. */
export async function connectedNodes(
  reader: RawClient,
  count: number
): Promise<{ nodeId: string; approvalState: string }[]> {
  for (let n = reader.events.filter(({ event }) => event === 'presence').length + 1; ; n++) {
    const { nodes } = (await reader.call('node.list', {})).payload as {
      nodes: { nodeId: string; approvalState: string; connected: boolean }[]
    }
    const connected = nodes.filter((each) => each.connected)
    if (connected.length === count) return connected
    await reader.event('presence', n)
  }
}
