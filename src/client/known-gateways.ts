import type { JsonWebKey } from 'node:crypto'
import { chmod, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { withFileLock } from '../config/file-lock.ts'
import { writeAtomically } from '../config/write.ts'
import { ClientError } from './errors.ts'
import type { KnownCertificate } from './tls-trust.ts'

/** What this host remembers of a gateway elsewhere. */
export interface KnownGateway {
  /** The certificate that was trusted on first use (R34). */
  certificate?: KnownCertificate | undefined
  device?: KnownDevice | undefined
}

/** This host as a device of one gateway: a key that no other gateway ever sees, so that none can use what it signs. */
export interface KnownDevice {
  /** An Ed25519 private key. */
  key: JsonWebKey
  /** The device token of that gateway; absent until somebody has approved the device. */
  token?: string | undefined
  /** Every scope that the gateway has granted so far. */
  scopes: readonly string[]
}

const MAX_GATEWAYS = 64

/** The gateways elsewhere that this host has met, by origin: one file in the state folder, mode 0600. */
export class KnownGateways {
  readonly path: string

  constructor(stateDir: string) {
    this.path = join(stateDir, 'client', 'gateways.json')
  }

  /** What is remembered of a gateway; undefined for one that is new. */
  async find(origin: string): Promise<KnownGateway | undefined> {
    const all = await this.#read()
    return Object.hasOwn(all, origin) ? all[origin] : undefined
  }

  /** Changes what is remembered of a gateway, safe against another process that does the same. */
  async change(origin: string, edit: (before: KnownGateway) => KnownGateway): Promise<KnownGateway> {
    return withFileLock(this.path, async () => {
      const all = await this.#read()
      const after = edit(Object.hasOwn(all, origin) ? all[origin]! : {})
      const { [origin]: _before, ...others } = all
      const text = JSON.stringify({ version: 1, gateways: { ...bounded(others), [origin]: after } }, null, 2)
      await writeAtomically(this.path, `${text}\n`)
      return after
    })
  }

  async #read(): Promise<Record<string, KnownGateway>> {
    let text: string
    try {
      // A backup or a copy may have opened it; the keys are nobody else's to read (S24).
      if (((await stat(this.path)).mode & 0o077) !== 0) await chmod(this.path, 0o600)
      text = await readFile(this.path, 'utf8')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {}
      throw this.#unreadable(cause)
    }
    try {
      const { gateways } = JSON.parse(text) as { gateways?: unknown }
      if (typeof gateways !== 'object' || gateways === null) throw new Error('it is incomplete')
      return gateways as Record<string, KnownGateway>
    } catch (cause) {
      throw this.#unreadable(cause)
    }
  }

  // To go on without it would trust any certificate anew, and pair anew: that is for the owner to decide.
  #unreadable(cause: unknown): ClientError {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return new ClientError('STATE_UNREADABLE', `what this host knows of other gateways cannot be read: ${reason}`, {
      fix: `restore ${this.path}, or pair and trust anew without it: mv ${this.path} ${this.path}.bad`,
      cause
    })
  }
}

// The oldest go first, and those that hold a pairing last: it takes a person to make one.
function bounded(gateways: Record<string, KnownGateway>): Record<string, KnownGateway> {
  const entries = Object.entries(gateways)
  const surplus = entries.length - (MAX_GATEWAYS - 1)
  if (surplus <= 0) return gateways
  const inOrder = entries.toSorted(([, a], [, b]) => Number(a.device !== undefined) - Number(b.device !== undefined))
  const gone = new Set(inOrder.slice(0, surplus).map(([origin]) => origin))
  return Object.fromEntries(entries.filter(([origin]) => !gone.has(origin)))
}
