import { type Access, footing } from '../auth/access.ts'
import type { CLOSE } from '../protocol/codes.ts'
import type { Caller } from './method.ts'

/** Whoever is told what happens for longer than one answer: a socket, or a stream of events. */
export interface Receiver {
  readonly caller: Caller | undefined
  readonly open: boolean
  close(code: keyof typeof CLOSE, reason: string): void
}

const MAX_TIMER_MS = 2_147_483_647

/** Ends receivers with the authority behind them: when the policy changes, and when their token expires (S14). */
export class Authority {
  readonly #access: () => Access
  readonly #receivers: () => Iterable<Receiver>
  readonly #expiries = new Map<Receiver, NodeJS.Timeout>()

  constructor(access: () => Access, receivers: () => Iterable<Receiver>) {
    this.#access = access
    this.#receivers = receivers
  }

  /** Begins to look after a receiver. The policy may have changed while its caller was being looked up. */
  watch(receiver: Receiver): void {
    this.#endFallen(receiver)
    this.#expire(receiver)
  }

  forget(receiver: Receiver): void {
    clearTimeout(this.#expiries.get(receiver))
    this.#expiries.delete(receiver)
  }

  /** Holds every receiver against the policy in force. */
  review(): void {
    for (const receiver of this.#receivers()) this.#endFallen(receiver)
  }

  #endFallen(receiver: Receiver): void {
    const { caller } = receiver
    if (caller === undefined || footing(this.#access(), caller.entry) === caller.footing) return
    receiver.close('authChanged', 'gateway auth changed')
  }

  // What a named token opened ends when the token does.
  #expire(receiver: Receiver): void {
    const { caller, open } = receiver
    if (caller?.token?.expiresAtMs === undefined || !open) return
    const left = caller.token.expiresAtMs - Date.now()
    if (left <= 0) receiver.close('policy', 'token expired')
    else this.#expiries.set(receiver, setTimeout(() => this.#expire(receiver), Math.min(left, MAX_TIMER_MS)).unref())
  }
}
