import type { HostStats, NodeEntry, NodeRequest } from '../../src/client/node-entry.ts'
import { runOnNode } from '../../src/client/node-run.ts'
import { hex } from '../bytes.ts'
import { Listing } from './listing.ts'
import type { Session } from './session.ts'

const MAX_SAMPLES = 120

/** A moment of a node's machine: shares between 0 and 1. */
export interface LoadSample {
  at: number
  cpu: number | undefined
  memory: number | undefined
}

/** What a program tells while it runs. */
export interface RunEvents {
  onChunk(chunk: string): void
  /** A person has to allow it first. */
  onWait(): void
}

/** Something that a node does, and how to stop it. */
export interface Invocation {
  result: Promise<unknown>
  cancel(): void
}

/** The machines that lend their camera, screen or shell, and what they would like to be allowed. */
export class Nodes extends Listing {
  nodes: NodeEntry[] = []
  pending: NodeRequest[] = []
  readonly samples = new Map<string, LoadSample[]>()
  readonly #running = new Map<string, (chunk: string) => void>()

  constructor(session: Session) {
    super(session, 'operator.read', ['node.pair.requested', 'node.pair.resolved', 'device.pair.changed', 'presence'])
    session.on<{ nodeId: string; hostStats: HostStats }>('node.hostStats', ({ nodeId, hostStats }) => {
      const node = this.nodes.find((each) => each.nodeId === nodeId)
      if (node === undefined) return
      node.hostStats = hostStats
      this.#sample(node)
      this.changed()
    })
    session.on<{ idempotencyKey: string; chunk: string }>('node.invoke.progress', ({ idempotencyKey, chunk }) =>
      this.#running.get(idempotencyKey)?.(chunk)
    )
  }

  /** Reports whether this session may decide about nodes. */
  get mayDecide(): boolean {
    return this.session.can('operator.pairing')
  }

  /** Reports whether this session may grant what a request asks. */
  mayApprove({ requiredApproveScopes = [] }: NodeRequest): boolean {
    return requiredApproveScopes.every((scope) => this.session.can(scope as 'operator.admin'))
  }

  approve(requestId: string): Promise<void> {
    return this.act('node.pair.approve', { requestId })
  }

  reject(requestId: string): Promise<void> {
    return this.act('node.pair.reject', { requestId })
  }

  rename(nodeId: string, displayName: string): Promise<void> {
    return this.act('node.rename', { nodeId, displayName })
  }

  remove(nodeId: string): Promise<void> {
    return this.act('node.pair.remove', { nodeId })
  }

  /** Has a node do one thing. */
  invoke(nodeId: string, command: string, params: unknown): Invocation {
    const key = hex(crypto.getRandomValues(new Uint8Array(16)))
    const result = this.session
      .request<{ payload?: unknown }>('node.invoke', { nodeId, command, params, idempotencyKey: key })
      .then(({ payload }) => payload)
    return { result, cancel: () => this.#cancel(nodeId, key) }
  }

  /** Runs a program on a node. */
  run(nodeId: string, command: string[], { onChunk, onWait }: RunEvents): Invocation {
    let current = ''
    const started = (key: string) => {
      this.#running.delete(current)
      current = key
      this.#running.set(key, onChunk)
    }
    const result = runOnNode(this.session, { nodeId, command }, { started, waits: onWait }).finally(() =>
      this.#running.delete(current)
    )
    return { result, cancel: () => this.#cancel(nodeId, current) }
  }

  protected override async load(): Promise<() => void> {
    const [{ nodes }, { pending }] = await Promise.all([
      this.session.request<{ nodes: NodeEntry[] }>('node.list', {}),
      this.mayDecide ? this.session.request<{ pending: NodeRequest[] }>('node.pair.list', {}) : { pending: [] }
    ])
    return () => {
      this.nodes = nodes
      this.pending = pending
      for (const node of nodes) this.#sample(node)
      const known = new Set(nodes.map(({ nodeId }) => nodeId))
      for (const nodeId of this.samples.keys()) if (!known.has(nodeId)) this.samples.delete(nodeId)
    }
  }

  protected override clear(): void {
    this.nodes = []
    this.pending = []
    this.samples.clear()
    this.#running.clear()
  }

  #cancel(nodeId: string, idempotencyKey: string): void {
    this.session.request('node.invoke.cancel', { nodeId, idempotencyKey }).catch(() => {
      // It ended by itself; its answer is on the way.
    })
  }

  #sample({ nodeId, hostStats }: NodeEntry): void {
    const at = hostStats?.updatedAtMs
    const samples = this.samples.get(nodeId) ?? []
    if (hostStats === undefined || at === undefined || samples.at(-1)?.at === at) return
    const { cpuCount, loadAverage, memoryTotalBytes, memoryFreeBytes } = hostStats
    const sample = {
      at,
      cpu: loadAverage && cpuCount ? loadAverage[0] / cpuCount : undefined,
      memory: memoryTotalBytes && memoryFreeBytes !== undefined ? 1 - memoryFreeBytes / memoryTotalBytes : undefined
    }
    this.samples.set(nodeId, [...samples.slice(1 - MAX_SAMPLES), sample])
  }
}
