import type { DeviceRequest } from '../store/devices.ts'
import type { AuthEvent } from '../store/trail.ts'

/** How a request ended. */
export type Decision = 'approved' | 'rejected' | 'expired'

/** What pairing asks of the rest of the gateway. */
export interface PairingHost {
  publish(event: string, payload: unknown): void
  record(event: AuthEvent): void
  /** The devices that are connected now. */
  connected(): ReadonlySet<string | undefined>
}

type Ended = Pick<DeviceRequest, 'requestId' | 'deviceId'>

const MAX_ENDED = 100

/** What pairing tells the rest of the gateway, and those who wait for the end of a request of theirs. */
export class PairingNews {
  readonly #host: PairingHost
  readonly #waiting = new Map<string, ((decision: Decision | undefined) => void)[]>()
  /** How the latest requests ended, for whoever asks a moment too late. */
  readonly #ended = new Map<string, { deviceId: string; decision: Decision }>()

  constructor(host: PairingHost) {
    this.#host = host
  }

  record(event: AuthEvent): void {
    this.#host.record(event)
  }

  connected(): ReadonlySet<string | undefined> {
    return this.#host.connected()
  }

  /** Tells the operators of a new request. */
  requested(request: DeviceRequest): void {
    this.#host.publish('device.pair.requested', pendingEntry(request))
  }

  /** Tells the operators, and the device, how a request ended. */
  resolved({ requestId, deviceId }: Ended, decision: Decision, ts: number): void {
    this.#host.publish('device.pair.resolved', { requestId, deviceId, decision, ts })
    const waiting = this.#waiting.get(requestId)
    this.#waiting.delete(requestId)
    for (const settle of waiting ?? []) settle(decision)
    if (waiting !== undefined) return
    this.#ended.set(requestId, { deviceId, decision })
    if (this.#ended.size > MAX_ENDED) this.#ended.delete(this.#ended.keys().next().value!)
  }

  /** Tells the operators that something about the paired devices changed. */
  changed(): void {
    this.#host.publish('device.pair.changed', {})
  }

  /** How a device's request ended, when that is known; told once. */
  takeEnded(requestId: string, deviceId: string): Decision | undefined {
    const ended = this.#ended.get(requestId)
    if (ended?.deviceId !== deviceId) return undefined
    this.#ended.delete(requestId)
    return ended.decision
  }

  /** Waits for the end of a request; undefined when the gateway stops first. */
  outcome(requestId: string): Promise<Decision | undefined> {
    return new Promise((settle) => {
      this.#waiting.set(requestId, [...(this.#waiting.get(requestId) ?? []), settle])
    })
  }

  /** Lets everyone go who waits. */
  stop(): void {
    const waiting = [...this.#waiting.values()].flat()
    this.#waiting.clear()
    for (const settle of waiting) settle(undefined)
  }
}

/** A request as `device.pair.list` and `device.pair.requested` show it. */
export function pendingEntry(request: DeviceRequest): Record<string, unknown> {
  return { ...request, silent: false }
}
