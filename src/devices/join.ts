import { randomBytes } from 'node:crypto'
import type { SetupPayload } from './setup.ts'

const MAX_LINKS = 100

/** Join links: a short path under which a setup code is fetched once. In memory, because the code's text is in it. */
export class JoinLinks {
  readonly #links = new Map<string, SetupPayload>()

  /** Keeps a setup code until it is fetched or expires; returns the path that leads to it. */
  offer(payload: SetupPayload): string {
    const code = randomBytes(16).toString('base64url')
    this.#links.set(code, payload)
    if (this.#links.size > MAX_LINKS) this.#links.delete(this.#links.keys().next().value!)
    return `/j/${code}`
  }

  /** Hands a setup code out, this once. */
  take(code: string): SetupPayload | undefined {
    const payload = this.#links.get(code)
    this.#links.delete(code)
    return payload !== undefined && payload.expiresAtMs > Date.now() ? payload : undefined
  }
}
