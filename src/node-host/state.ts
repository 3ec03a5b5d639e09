import { randomUUID } from 'node:crypto'
import { chmod, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { withFileLock } from '../config/file-lock.ts'
import { writeAtomically } from '../config/write.ts'
import { NodeHostError } from './errors.ts'

/** What a node host remembers between runs, beside its key. */
export interface NodeState {
  /** Names this host in `connect`; the paired identity is the key. */
  instanceId: string
  displayName?: string | undefined
  /** Device tokens, by the gateway that issued each (its URL): none is ever sent anywhere else. */
  tokens: Readonly<Record<string, { token: string; issuedAtMs: number }>>
  /** The gateway that this host paired with by a setup code, where the command line names none. */
  gateway?: PairedGateway | undefined
}

/** A gateway, and how its certificate is known. */
export interface PairedGateway {
  url: string
  fingerprint?: string | undefined
}

const MAX_TOKENS = 32

/** The node host's memory in a state folder: one file, mode 0600, safe to change from two processes. */
export class NodeMemory {
  readonly path: string

  constructor(stateDir: string) {
    this.path = join(stateDir, 'node', 'state.json')
  }

  /** Reads what is remembered; undefined before the first run. */
  async read(): Promise<NodeState | undefined> {
    let text: string
    try {
      if (((await stat(this.path)).mode & 0o077) !== 0) await chmod(this.path, 0o600)
      text = await readFile(this.path, 'utf8')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw this.#unreadable(cause)
    }
    try {
      const { instanceId, displayName, tokens, gateway } = JSON.parse(text) as Partial<NodeState>
      if (typeof instanceId !== 'string' || typeof tokens !== 'object') throw new Error('it is incomplete')
      return { instanceId, displayName, tokens: tokens ?? {}, gateway }
    } catch (cause) {
      throw this.#unreadable(cause)
    }
  }

  /** Takes over what the command line names, and returns all of it. */
  async open(named: { instanceId?: string | undefined; displayName?: string | undefined }): Promise<NodeState> {
    return this.#change((state) => ({
      ...state,
      instanceId: named.instanceId ?? state.instanceId,
      displayName: named.displayName ?? state.displayName
    }))
  }

  /** The device token that a gateway has issued to this node. */
  async token(gateway: string): Promise<string | undefined> {
    return (await this.read())?.tokens[gateway]?.token
  }

  /** Keeps which gateway this host paired with. */
  async paired(gateway: PairedGateway): Promise<void> {
    await this.#change((state) => ({ ...state, gateway }))
  }

  /** Keeps, or with undefined forgets, the device token of a gateway. */
  async remember(gateway: string, token: string | undefined): Promise<void> {
    await this.#change((state) => {
      const { [gateway]: _old, ...others } = state.tokens
      if (token === undefined) return { ...state, tokens: others }
      const newest = Object.entries(others).slice(1 - MAX_TOKENS)
      return { ...state, tokens: { ...Object.fromEntries(newest), [gateway]: { token, issuedAtMs: Date.now() } } }
    })
  }

  #change(edit: (state: NodeState) => NodeState): Promise<NodeState> {
    return withFileLock(this.path, async () => {
      const before = (await this.read()) ?? { instanceId: randomUUID(), tokens: {} }
      const after = edit(before)
      await writeAtomically(this.path, `${JSON.stringify({ version: 1, ...after }, null, 2)}\n`)
      return after
    })
  }

  #unreadable(cause: unknown): NodeHostError {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return new NodeHostError('NODE_STATE_UNREADABLE', `${this.path} cannot be used: ${reason}`, {
      fix: `mv ${this.path} ${this.path}.bad`,
      cause
    })
  }
}
