import type { Surface } from '../store/nodes.ts'
import { type Machine, type NodePlatform, platformOf } from './platform.ts'
import { type CommandPolicy, type Subject, talks } from './policy.ts'

/** What a node declares when it connects, as it sent it. */
export interface Declared {
  caps: readonly string[]
  commands: readonly string[]
  permissions: Readonly<Record<string, boolean>>
  pathEnv: string | undefined
}

/** Most of each that a node can declare; beyond that it is not a node but a flood. */
const MAX_NAMES = 256
const MAX_NAME = 128

/** A declaration made tidy, and what kind of node it comes from. */
export interface Offer extends Declared {
  subject: Subject
}

/** Reads what a node declares: no doubles, no blanks, nothing without end. */
export function offerOf(declared: Declared, machine: Machine): Offer {
  const caps = tidy(declared.caps)
  const commands = tidy(declared.commands)
  const permissions = Object.entries(declared.permissions).slice(0, MAX_NAMES)
  return {
    caps,
    commands,
    permissions: Object.fromEntries(permissions.filter(([name]) => name.length <= MAX_NAME)),
    pathEnv: declared.pathEnv?.slice(0, 8192),
    subject: { platform: platformOf(machine), talks: talks(caps, commands) }
  }
}

/** What of an offer a person may be asked to approve: commands that the policy rules out are not even asked for. */
export function requestable({ caps, commands, permissions, subject }: Offer, policy: CommandPolicy): Surface {
  return {
    caps: [...caps],
    commands: commands.filter((command) => policy.mayAsk(command, subject)),
    permissions: { ...permissions }
  }
}

/** Reports whether an offer has anything that was not approved. */
export function widens(asked: Surface, approved: Surface | undefined): boolean {
  if (approved === undefined) return true
  return (
    asked.caps.some((cap) => !approved.caps.includes(cap)) ||
    asked.commands.some((command) => !approved.commands.includes(command)) ||
    Object.entries(asked.permissions).some(([name, granted]) => granted && approved.permissions[name] !== true)
  )
}

/** Reports whether two surfaces offer the same, in any order. */
export function sameSurface(a: Surface, b: Surface): boolean {
  const names = Object.keys(a.permissions)
  return (
    sameNames(a.caps, b.caps) &&
    sameNames(a.commands, b.commands) &&
    names.length === Object.keys(b.permissions).length &&
    names.every((name) => a.permissions[name] === b.permissions[name])
  )
}

/** What a node may do here and now: what it declares, as far as it was approved and the policy lets it. */
export interface Effective {
  platform: NodePlatform
  caps: readonly string[]
  commands: ReadonlySet<string>
  permissions: Readonly<Record<string, boolean>>
}

/** Works out what a node may do. */
export function effective(offer: Offer, approved: Surface | undefined, policy: CommandPolicy): Effective {
  const { caps, commands, permissions, subject } = offer
  const held = new Set(approved?.commands)
  const shown = Object.entries(permissions).filter(
    ([name, granted]) => !granted || approved?.permissions[name] === true
  )
  return {
    platform: subject.platform,
    caps: caps.filter((cap) => approved?.caps.includes(cap)).sort(),
    commands: new Set(commands.filter((name) => held.has(name) && policy.mayRun(name, subject, true)).sort()),
    // A node that says nothing of them has those that it was approved with.
    permissions: shown.length > 0 ? Object.fromEntries(shown) : (approved?.permissions ?? {})
  }
}

function tidy(names: readonly string[]): string[] {
  const clean = names.map((name) => name.trim()).filter((name) => name !== '' && name.length <= MAX_NAME)
  return [...new Set(clean)].slice(0, MAX_NAMES)
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name))
}
