import type { Role, Scope } from './scopes.ts'

const limited = [
  'operator.approvals',
  'operator.questions',
  'operator.read',
  'operator.talk.secrets',
  'operator.write'
] as const satisfies Scope[]

/**
 * What a one-time code makes of the device that spends it. `owner` is a browser that opened a launch link; the others
 * are the protocol's words for a setup code: a phone with full or limited control that is a node as well, or a node.
 */
export const SETUP_PROFILES: Record<SetupAccess, { roles: readonly Role[]; scopes: readonly Scope[] }> = {
  owner: { roles: ['operator'], scopes: ['operator.admin'] },
  full: { roles: ['node', 'operator'], scopes: ['operator.admin', ...limited] },
  limited: { roles: ['node', 'operator'], scopes: limited },
  node: { roles: ['node'], scopes: [] }
}

/** One kind of one-time code. */
export type SetupAccess = 'owner' | 'full' | 'limited' | 'node'

/** How a setup code ended, as `device.pair.setup.completed` and `device.pair.setupStatus` tell it. */
export interface SetupOutcome {
  setupId: string
  deviceId: string
  deviceName?: string
  access: Exclude<SetupAccess, 'owner'>
  ts: number
}
