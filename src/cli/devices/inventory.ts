import { ownFix } from '../errors.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printable, styleOf } from '../output.ts'
import type { Way } from '../owner-call.ts'
import { shortScope } from '../scope-words.ts'
import { type Column, tableLayout } from '../table.ts'

/** A device that waits, as `device.pair.list` tells it. */
export interface Pending {
  requestId: string
  deviceId: string
  displayName?: string
  clientId?: string
  role?: string
  roles?: string[]
  scopes?: string[]
  remoteIp?: string
  /** Who asks, where a verified front end says so. */
  user?: string
  isRepair?: boolean
  /** Why a person is asked; ours alone says so. */
  reason?: string
  ts: number
}

/** A paired device, as `device.pair.list` tells it. */
export interface Paired {
  deviceId: string
  label?: string
  displayName?: string
  clientId?: string
  role?: string
  roles?: string[]
  scopes?: string[]
  tokens?: { role: string }[]
  /** What of its roles still stands; ours alone says so. */
  grants?: { role: string; scopes: string[] }[]
  approvedVia?: string
  lastSeenAtMs?: number
  connected?: boolean
}

/** Who waits and who is in. */
export interface Inventory {
  pending: Pending[]
  paired: Paired[]
}

/** Asks who waits and who is in, the newest first. */
export async function inventoryOf({ ask }: Way): Promise<Inventory> {
  const { pending = [], paired = [] } = await ask<Partial<Inventory>>('device.pair.list')
  return { pending: pending.toSorted((a, b) => b.ts - a.ts), paired }
}

/** A name that a person gave, or the device claims; one line, so that it cannot pose as output of ours. */
export function nameOf({ label, displayName, clientId, deviceId }: Partial<Paired> & { deviceId: string }): string {
  return (label ?? displayName ?? clientId ?? shortId(deviceId)).replace(/\s+/g, ' ')
}

/** The start of a device's id: enough to tell two apart. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

/** What roles and scopes come to: `operator: admin`, `node`, or both. Full control covers the rest. */
export function access(roles: readonly string[], scopes: readonly string[]): string {
  const shown = scopes.includes('operator.admin') ? ['admin'] : scopes.map(shortScope)
  const words = roles.map((role) => (role === 'operator' ? `operator: ${shown.join(',') || 'nothing'}` : role))
  return words.join(' + ') || 'nothing'
}

/** What a device would hold if its request were approved: what it asks for, on top of what it has. */
export function wouldHold({ deviceId, roles, role = 'operator', scopes = [] }: Pending, { paired }: Inventory): string {
  const known = paired.find((each) => each.deviceId === deviceId)
  const all = new Set([...(known === undefined ? [] : liveRoles(known)), ...(roles ?? [role])])
  return access([...all], [...new Set([...(known?.scopes ?? []), ...scopes])])
}

/** What a paired device may do. */
export function holds(device: Paired): string {
  return access(liveRoles(device), device.scopes ?? [])
}

/** The roles that a device may come in as; a revoked one stays on the list, and is none. */
export function liveRoles({ grants, tokens = [], scopes = [], roles, role = 'operator' }: Paired): string[] {
  if (grants !== undefined) return grants.map((each) => each.role)
  return tokens.length > 0 || scopes.length > 0 ? (roles ?? [role]) : []
}

/** Prints the requests that wait, and how to decide one. */
export function printPending(io: Io, inventory: Inventory): void {
  const { pending } = inventory
  const style = styleOf(io)
  const columns: Column<Pending>[] = [
    { title: 'REQUEST', max: 8, text: ({ requestId }) => requestId.slice(0, 8) },
    { title: 'DEVICE', max: 20, text: (each) => each.user ?? nameOf(each) },
    { title: 'WHY', max: 16, text: ({ reason = '-' }) => reason },
    { title: 'AGE', max: 3, text: ({ ts }) => age(ts) },
    { title: 'FROM', text: ({ remoteIp = 'this host' }) => remoteIp }
  ]
  const { head, line } = tableLayout(io, columns, pending)
  io.stdout(head)
  for (const request of pending) {
    io.stdout(line(request))
    // On a line of its own, because it must never be cut.
    const known = request.isRepair === true ? ' (paired already)' : ''
    io.stdout(`  would get ${style.yellow(printable(wouldHold(request, inventory)))}${known}`)
    const { command } = ownFix(
      io,
      { command: `openclaw devices approve ${request.requestId}`, where: 'gateway host' },
      false
    )
    io.stdout(style.dim(`  ${printable(command)}`))
  }
}

/** Prints the devices that are in. */
export function printPaired(io: Io, { paired }: Inventory): void {
  const style = styleOf(io)
  const { head, line } = tableLayout<Paired>(
    io,
    [
      { title: 'DEVICE', max: 12, text: ({ deviceId }) => shortId(deviceId) },
      { title: 'NAME', max: 18, text: nameOf },
      { title: 'PAIRED BY', max: 13, text: ({ approvedVia = '-' }) => approvedVia },
      {
        title: 'SEEN',
        text: ({ connected, lastSeenAtMs }) =>
          connected === true ? 'connected' : lastSeenAtMs === undefined ? 'never' : `${age(lastSeenAtMs)} ago`,
        paint: ({ connected }) => (connected === true ? style.green : String)
      },
      { title: 'MAY', text: holds }
    ],
    paired
  )
  io.stdout(head)
  for (const device of paired) io.stdout(line(device))
}

/** How long ago something was, in one unit. */
export function age(ts: number): string {
  const seconds = Math.max(1, Math.round((Date.now() - ts) / 1_000))
  return formatDuration(seconds * 1_000).split(' ')[0]!
}

/** Finds a device by its id, the start of its id, or its name. */
export function findDevice<T extends Partial<Paired> & { deviceId: string }>(text: string, devices: readonly T[]): T {
  const wanted = text.trim().toLowerCase()
  const exact = devices.find(({ deviceId }) => deviceId === wanted)
  const named = devices.filter(({ label, displayName }) => (label ?? displayName)?.toLowerCase() === wanted)
  const begun = wanted.length < 4 ? [] : devices.filter(({ deviceId }) => deviceId.startsWith(wanted))
  const found = exact === undefined ? [...new Set([...named, ...begun])] : [exact]
  if (found.length === 1) return found[0]!
  const fix = 'openclaw devices list'
  if (found.length === 0) throw new CliError('DEVICE_UNKNOWN', `no device is called "${printable(text)}"`, { fix })
  const all = found.map((each) => `${printable(nameOf(each))} (${shortId(each.deviceId)})`).join(', ')
  throw new CliError('DEVICE_AMBIGUOUS', `"${printable(text)}" may be any of ${all}; use more of the id`, { fix })
}
