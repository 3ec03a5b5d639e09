import { consent } from '../confirm.ts'
import type { TargetOptions } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson, printRows, styleOf } from '../output.ts'
import { asOwner, type Way } from '../owner-call.ts'
import { parseScopes } from '../scope-words.ts'
import {
  age,
  findDevice,
  holds,
  type Inventory,
  inventoryOf,
  nameOf,
  type Paired,
  type Pending,
  printPending,
  shortId,
  wouldHold
} from './inventory.ts'

/** What the commands that let devices in are told. */
export interface DecideOptions extends TargetOptions {
  latest?: boolean
  yes?: boolean
  admin?: boolean
  scopes?: string[]
}

interface Approved {
  requestId: string
  device: Paired
}

/** Lets a waiting device in: the one that is named, the newest, or the only one. */
export async function approve(io: Io, id: string | undefined, options: DecideOptions): Promise<void> {
  if (id !== undefined && options.latest === true) {
    throw new CliError('USAGE', 'name a request or take the latest, not both', {
      fix: `openclaw devices approve ${id}`
    })
  }
  await asOwner(io, options, ['operator.pairing', 'operator.admin'], async (way) => {
    const inventory = await inventoryOf(way)
    const request = id === undefined ? chosen(io, inventory, options) : findRequest(id, inventory)
    if (options.json !== true) describe(io, request, inventory)
    // Off the owner's socket nobody says yes to something that they have not named.
    if (id === undefined && !way.owner && options.yes !== true && !(await consent('Approve it?'))) {
      throw new CliError('NOT_CONFIRMED', 'nothing was approved', {
        fix: `openclaw devices approve ${request.requestId}`
      })
    }
    const result = await way.ask<Approved>('device.pair.approve', { requestId: request.requestId })
    if (options.json === true) printJson(io, result)
    else io.stdout(`${styleOf(io).green('Approved.')} ${granted(result.device)}`)
  })
}

/** Turns a waiting device away. */
export async function reject(io: Io, id: string, options: TargetOptions): Promise<void> {
  await asOwner(io, options, ['operator.pairing', 'operator.admin'], async (way) => {
    const request = findRequest(id, await inventoryOf(way))
    const result = await way.ask('device.pair.reject', { requestId: request.requestId })
    if (options.json === true) printJson(io, result)
    else io.stdout(`Rejected ${printable(nameOf(request))}. It may ask again.`)
  })
}

/** Gives a device that waits or is paired what it needs, whatever it holds now. */
export async function grant(io: Io, which: string, options: DecideOptions): Promise<void> {
  const { admin = false, scopes } = options
  if (admin === (scopes !== undefined)) {
    throw new CliError('USAGE', 'say what to grant: --admin, or --scopes', {
      fix: `openclaw devices grant ${printable(which)} --admin`
    })
  }
  const wanted = admin ? ['operator.admin'] : await parseScopes(scopes!)
  await asOwner(io, options, ['operator.admin'], async (way: Way) => {
    const { pending, paired } = await inventoryOf(way)
    const devices = new Map([...pending, ...paired].map((device) => [device.deviceId, device]))
    const { deviceId } = findDevice(which, [...devices.values()])
    const result = await way.ask<{ device: Paired }>('device.pair.grant', { deviceId, scopes: wanted })
    if (options.json === true) printJson(io, result)
    else io.stdout(`${styleOf(io).green('Granted.')} ${granted(result.device)}`)
  })
}

function chosen(io: Io, inventory: Inventory, { latest, json }: DecideOptions): Pending {
  const { pending } = inventory
  const [newest] = pending
  if (newest === undefined) {
    throw new CliError('NOTHING_PENDING', 'no device waits for approval; a request is gone after five minutes', {
      fix: 'connect with the device again, then: openclaw devices approve --latest'
    })
  }
  if (pending.length === 1 || latest === true) return newest
  if (json !== true) printPending(io, inventory)
  throw new CliError('SEVERAL_PENDING', `${pending.length} devices wait for approval; name one, or take the newest`, {
    fix: 'openclaw devices approve --latest',
    extra: { pending }
  })
}

/** Finds a request by its id or the start of it. */
function findRequest(id: string, { pending }: Inventory): Pending {
  const found = pending.filter(({ requestId }) => requestId.startsWith(id.trim().toLowerCase()))
  if (found.length === 1 && id.trim().length >= 4) return found[0]!
  throw new CliError('REQUEST_UNKNOWN', `no request begins with "${printable(id)}", or more than one does`, {
    fix: 'openclaw devices list'
  })
}

function describe(io: Io, request: Pending, inventory: Inventory): void {
  const { deviceId, remoteIp, user, reason, isRepair, ts } = request
  printRows(io, [
    ['Device', `${nameOf(request)} (${shortId(deviceId)})`],
    ['Verified user', user],
    ['From', `${remoteIp ?? 'this host'}, ${age(ts)} ago`],
    ['Why', [reason, isRepair === true ? 'paired already' : ''].filter(Boolean).join(', ') || undefined],
    ['Would get', wouldHold(request, inventory)]
  ])
}

function granted(device: Paired): string {
  return `${printable(nameOf(device))} may now come in as ${holds(device)}.`
}
