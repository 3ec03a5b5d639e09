import type { PairingNews } from '../../devices/news.ts'
import type { EventKind } from '../../protocol/audit.ts'
import { invalidRequest, type RpcError } from '../../protocol/errors.ts'
import type { DeviceFacts, DeviceStore } from '../../store/devices.ts'
import type { Trail } from '../../store/trail.ts'
import { causedBy } from '../caused-by.ts'
import type { Hub } from '../hub.ts'
import type { Caller } from '../method.ts'

/** What the methods of devices work on. */
export interface DeviceDeps {
  devices: DeviceStore
  news: PairingNews
  hub: Hub
  trail: Trail
}

/** Writes a change of a caller's to the trail. */
export function note({ trail }: Pick<DeviceDeps, 'trail'>, kind: EventKind, detail: string | undefined, by: Caller) {
  trail.record({ kind, outcome: 'changed', detail, ...causedBy(by) })
}

/** Ends the live sockets of a device, after the answer is on its way: the caller may be that very device. */
export function endSockets({ hub }: Pick<DeviceDeps, 'hub'>, deviceId: string): void {
  setImmediate(() => hub.closeWhere(({ caller }) => caller?.deviceId === deviceId, 'deviceRemoved', 'device removed'))
}

/** A name that a person gave or the device claims, and the start of its key, which it cannot choose. */
export function nameOf(device: Partial<DeviceFacts> & { deviceId: string; label?: string | undefined }): string {
  const name = device.label ?? device.displayName ?? device.clientId
  return `${name?.slice(0, 64) ?? 'device'} (${device.deviceId.slice(0, 12)})`
}

/** The same, of a device that may be there. */
export async function nameById({ devices }: Pick<DeviceDeps, 'devices'>, deviceId: string): Promise<string> {
  return nameOf((await devices.find(deviceId)) ?? { deviceId })
}

/** Reports whether a caller may do everything. */
export function isAdmin(caller: Caller): boolean {
  return caller.scopes.has('operator.admin')
}

/** Reports whether a caller may change a device: an admin any, another only its own. */
export function mayManage(caller: Caller, deviceId: string): boolean {
  return isAdmin(caller) || caller.deviceId === deviceId
}

/** Refuses a call in the protocol's words, with the command by which the owner gets it done. */
export function refuse(message: string, command: string, ...about: string[]): RpcError {
  // What a caller sent is repeated only where it is an id: the command is there to be pasted.
  const words = about.map((word) => (/^[\w-]{1,64}$/.test(word) ? word : 'ID'))
  return invalidRequest(message, { fix: { command: [command, ...words].join(' '), where: 'gateway host' } })
}
