import type { EventFrame } from '../protocol/frames.ts'

/** Hears of an event. */
export type Listener = (frame: EventFrame) => void

/** A call that asks the gateway for events that it would not send by itself. */
export interface SubscribeCall {
  method: string
  params?: unknown
}

interface Subscription {
  event: string
  listener: Listener
  call: SubscribeCall | undefined
}

const MAX_SUBSCRIPTIONS = 1_024

/** Who wants to hear what; it outlives the connections that carry it. */
export class Subscriptions {
  readonly #all = new Set<Subscription>()

  /** Adds a listener; `*` hears every event. */
  add(event: string, listener: Listener, call: SubscribeCall | undefined): () => void {
    if (this.#all.size >= MAX_SUBSCRIPTIONS) throw new Error(`more than ${MAX_SUBSCRIPTIONS} subscriptions`)
    const subscription = { event, listener, call }
    this.#all.add(subscription)
    return () => void this.#all.delete(subscription)
  }

  /** Tells everyone who wants to hear it; one that throws keeps nobody else from it. */
  tell(frame: EventFrame, onError: (error: unknown) => void): void {
    for (const { event, listener } of [...this.#all]) {
      if (event !== '*' && event !== frame.event) continue
      try {
        listener(frame)
      } catch (error) {
        onError(error)
      }
    }
  }

  /** The calls to be made on a connection that is new, each once. */
  calls(): SubscribeCall[] {
    const calls = [...this.#all].map(({ call }) => call).filter((call) => call !== undefined)
    return [...new Map(calls.map((call) => [JSON.stringify([call.method, call.params]), call])).values()]
  }
}
