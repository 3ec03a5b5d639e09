import { consent } from '../confirm.ts'
import type { TargetOptions } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson } from '../output.ts'
import { asOwner, type Way } from '../owner-call.ts'
import { parseScopes } from '../scope-words.ts'
import {
  access,
  findDevice,
  inventoryOf,
  liveRoles,
  nameOf,
  type Paired,
  printPaired,
  printPending
} from './inventory.ts'

/** What the commands that change a paired device are told. */
export interface ManageOptions extends TargetOptions {
  device?: string
  name?: string
  role?: string
  /** `--scope`, or false for `--no-scopes`. */
  scope?: string[]
  scopes?: boolean
  yes?: boolean
  pending?: boolean
}

const EITHER = ['operator.pairing', 'operator.admin'] as const

/** Shows who waits and who is in. */
export async function list(io: Io, options: TargetOptions): Promise<void> {
  const inventory = await asOwner(io, options, EITHER, async (way) =>
    options.json === true ? way.ask('device.pair.list') : inventoryOf(way)
  )
  if (options.json === true) return printJson(io, inventory)
  const { pending, paired } = inventory as Awaited<ReturnType<typeof inventoryOf>>
  if (pending.length > 0) {
    printPending(io, { pending, paired })
    io.stdout('')
  }
  if (paired.length > 0) printPaired(io, { pending, paired })
  else
    io.stdout('No device is paired. Open the Control UI with "openclaw dashboard", or pair a phone with "openclaw qr".')
}

/** Ends a device's pairing; to come back it has to be approved again. */
export async function remove(io: Io, which: string | undefined, options: ManageOptions): Promise<void> {
  await change(io, which, options, async ({ ask }, device) => {
    const result = await ask('device.pair.remove', { deviceId: device.deviceId })
    return [result, `Removed ${printable(nameOf(device))}; its connections are closed.`]
  })
}

/** Gives a device a name that a person recognises. */
export async function rename(io: Io, words: readonly string[], options: ManageOptions): Promise<void> {
  const rest = options.device === undefined ? words.slice(1) : words
  const label = (options.name ?? rest.join(' ')).trim()
  if (label === '' || label.length > 64) {
    throw new CliError('USAGE', 'a device needs a name of 1 to 64 characters', {
      fix: 'openclaw devices rename DEVICE "Kitchen Mac"'
    })
  }
  await change(io, words[0], options, async ({ ask }, device) => {
    const result = await ask('device.pair.rename', { deviceId: device.deviceId, label })
    return [result, `${printable(nameOf(device))} is now called ${printable(label)}.`]
  })
}

/** Replaces a device's tokens of one role, within what it was approved for. */
export async function rotate(io: Io, which: string | undefined, options: ManageOptions): Promise<void> {
  if (options.scope !== undefined && options.scopes === false) {
    throw new CliError('USAGE', '--scope and --no-scopes exclude each other', { fix: 'openclaw devices rotate --help' })
  }
  const scopes = options.scopes === false ? [] : options.scope && (await parseScopes(options.scope))
  await change(io, which, options, async ({ ask }, device) => {
    const role = roleOf(device, options)
    const params = { deviceId: device.deviceId, role, ...(scopes === undefined ? {} : { scopes }) }
    const result = await ask<{ scopes: string[] }>('device.token.rotate', params)
    const may = access([role], result.scopes)
    return [
      result,
      `${printable(nameOf(device))} needs the shared secret once more, and then gets a new token: ${may}.`
    ]
  })
}

/** Ends a device's access in one role; it stays on the list. */
export async function revoke(io: Io, which: string | undefined, options: ManageOptions): Promise<void> {
  await change(io, which, options, async ({ ask }, device) => {
    const role = roleOf(device, options)
    const result = await ask('device.token.revoke', { deviceId: device.deviceId, role })
    return [result, `${printable(nameOf(device))} may no longer come in as ${role}; its connections are closed.`]
  })
}

/** Ends every pairing, and with `--pending` every request. */
export async function clear(io: Io, options: ManageOptions): Promise<void> {
  await asOwner(io, options, EITHER, async (way) => {
    const inventory = await inventoryOf(way)
    const pending = options.pending === true ? inventory.pending : []
    const { paired } = inventory
    const what = `${count(paired, 'paired device')}${options.pending === true ? ` and ${count(pending, 'request')}` : ''}`
    const nothing = paired.length + pending.length === 0
    if (!nothing && options.yes !== true && !(await consent(`Remove ${what}?`))) {
      throw new CliError('NOT_CONFIRMED', `nothing was removed: that would end ${what}`, {
        fix: `openclaw devices clear${options.pending === true ? ' --pending' : ''} --yes`
      })
    }
    // First the requests: a device that is removed takes its own along.
    for (const { requestId } of pending) await way.ask('device.pair.reject', { requestId })
    for (const { deviceId } of paired) await way.ask('device.pair.remove', { deviceId })
    if (options.json !== true) return io.stdout(nothing ? 'There is nothing to remove.' : `Removed ${what}.`)
    printJson(io, {
      removedDevices: paired.map(({ deviceId }) => deviceId),
      rejectedPending: pending.map(({ requestId }) => requestId)
    })
  })
}

function count(all: readonly unknown[], what: string): string {
  return `${all.length} ${what}${all.length === 1 ? '' : 's'}`
}

async function change(
  io: Io,
  which: string | undefined,
  options: ManageOptions,
  work: (way: Way, device: Paired) => Promise<[result: unknown, words: string]>
): Promise<void> {
  const name = options.device ?? which
  if (name === undefined) {
    throw new CliError('USAGE', 'which device? Name it by its id, the start of its id, or its name', {
      fix: 'openclaw devices list'
    })
  }
  await asOwner(io, options, EITHER, async (way) => {
    const device = findDevice(name, (await inventoryOf(way)).paired)
    const [result, words] = await work(way, device)
    if (options.json === true) printJson(io, result)
    else io.stdout(words)
  })
}

function roleOf(device: Paired, { role }: ManageOptions): string {
  if (role !== undefined) return role
  const roles = liveRoles(device)
  if (roles.length === 1) return roles[0]!
  if (roles.length === 0) return device.role ?? 'operator'
  throw new CliError('USAGE', `${printable(nameOf(device))} has the roles ${roles.join(' and ')}; say which`, {
    fix: 'add --role operator, or --role node'
  })
}
