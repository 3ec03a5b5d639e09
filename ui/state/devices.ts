import { Listing } from './listing.ts'
import type { Session } from './session.ts'

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
export class Devices extends Listing {
  pending: PendingDevice[] = []
  paired: PairedDevice[] = []

  constructor(session: Session) {
    super(session, 'operator.pairing', [
      'device.pair.requested',
      'device.pair.resolved',
      'device.pair.changed',
      'presence'
    ])
  }

  approve(requestId: string): Promise<void> {
    return this.act('device.pair.approve', { requestId })
  }

  reject(requestId: string): Promise<void> {
    return this.act('device.pair.reject', { requestId })
  }

  rename(deviceId: string, label: string): Promise<void> {
    return this.act('device.pair.rename', { deviceId, label })
  }

  async revoke(deviceId: string, roles: string[]): Promise<void> {
    for (const role of roles) await this.session.request('device.token.revoke', { deviceId, role })
    await this.#ended(deviceId)
  }

  async remove(deviceId: string): Promise<void> {
    await this.session.request('device.pair.remove', { deviceId })
    await this.#ended(deviceId)
  }

  protected override async load(): Promise<() => void> {
    const list = await this.session.request<{ pending: PendingDevice[]; paired: PairedDevice[] }>(
      'device.pair.list',
      {}
    )
    return () => {
      this.pending = list.pending
      this.paired = list.paired
    }
  }

  protected override clear(): void {
    this.pending = []
    this.paired = []
  }

  // Whoever cuts off this very browser means it: a secret still at hand must not let it back in.
  async #ended(deviceId: string): Promise<void> {
    if (deviceId === this.session.deviceId) this.session.signOut()
    else await this.refresh()
  }
}
