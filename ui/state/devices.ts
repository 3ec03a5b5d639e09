import type { Session } from './session.ts'
import { Store } from './store.ts'

/** A device that asks to be let in. */
export interface PendingDevice {
  requestId: string
  deviceId: string
  displayName?: string
  label?: string
  platform?: string
  clientId?: string
  role?: string
  roles?: string[]
  scopes?: string[]
  remoteIp?: string
  /** Who asks, where a trusted proxy or Tailscale says so; everything else is the device's own word. */
  user?: string
  isRepair?: boolean
  ts: number
}

/** A device that was let in. */
export interface PairedDevice {
  deviceId: string
  displayName?: string
  label?: string
  platform?: string
  clientId?: string
  role?: string
  roles?: string[]
  scopes?: string[]
  remoteIp?: string
  approvedVia?: string
  approvedAtMs?: number
  lastSeenAtMs?: number
  connected?: boolean
  tokens?: { role: string; scopes: string[]; revokedAtMs?: number }[]
}

/** Who may connect, and who would like to. */
export class Devices extends Store {
  pending: PendingDevice[] = []
  paired: PairedDevice[] = []
  loaded = false
  error: string | undefined
  readonly #session: Session
  #asked = 0

  constructor(session: Session) {
    super()
    this.#session = session
    for (const event of ['device.pair.requested', 'device.pair.resolved', 'device.pair.changed', 'presence']) {
      session.on(event, () => void this.refresh())
    }
    session.addEventListener('change', () => {
      // Whoever signs in next may not be allowed to see this.
      if (!session.hello) this.#forget()
      if (session.phase.name === 'open') void this.refresh()
    })
  }

  /** Reports whether this session may look at devices at all. */
  get allowed(): boolean {
    return this.#session.can('operator.pairing')
  }

  async refresh(): Promise<void> {
    if (!this.allowed) return
    const asked = ++this.#asked
    try {
      const list = await this.#session.request<{ pending: PendingDevice[]; paired: PairedDevice[] }>(
        'device.pair.list',
        {}
      )
      // An older answer that arrives late would bring back what was just removed.
      if (asked !== this.#asked) return
      this.pending = list.pending
      this.paired = list.paired
      this.error = undefined
      this.loaded = true
    } catch (error) {
      if (asked !== this.#asked || this.#session.phase.name !== 'open') return
      this.error = error instanceof Error ? error.message : String(error)
    }
    this.changed()
  }

  approve(requestId: string): Promise<void> {
    return this.#act('device.pair.approve', { requestId })
  }

  reject(requestId: string): Promise<void> {
    return this.#act('device.pair.reject', { requestId })
  }

  rename(deviceId: string, label: string): Promise<void> {
    return this.#act('device.pair.rename', { deviceId, label })
  }

  async revoke(deviceId: string, roles: string[]): Promise<void> {
    for (const role of roles) await this.#session.request('device.token.revoke', { deviceId, role })
    await this.#ended(deviceId)
  }

  async remove(deviceId: string): Promise<void> {
    await this.#session.request('device.pair.remove', { deviceId })
    await this.#ended(deviceId)
  }

  #forget(): void {
    this.#asked++
    this.pending = []
    this.paired = []
    this.loaded = false
    this.error = undefined
  }

  // Whoever cuts off this very browser means it: a secret still at hand must not let it back in.
  async #ended(deviceId: string): Promise<void> {
    if (deviceId === this.#session.deviceId) this.#session.signOut()
    else await this.refresh()
  }

  async #act(method: string, params: Record<string, string>): Promise<void> {
    await this.#session.request(method, params)
    await this.refresh()
  }
}
