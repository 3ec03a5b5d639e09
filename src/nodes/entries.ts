import type { NodeRecord, SurfaceRequest } from '../store/nodes.ts'
import { familyOf, platformOf } from './platform.ts'
import { approvalScopes, type CommandPolicy, talks } from './policy.ts'
import type { NodeRegistry, NodeSession } from './registry.ts'

type Json = Record<string, unknown>

/**
 * A node as `node.list` and `node.describe` show it: on the socket that serves it, or as it was last. What it would like
 * to be allowed is shown to whoever may decide about that.
 */
export function nodeEntry(
  record: NodeRecord,
  { registry, policy, decides }: { registry: NodeRegistry; policy: CommandPolicy; decides: boolean }
): Json {
  const { nodeId, approved, request } = record
  const session = registry.serving(nodeId)
  const held = session === undefined ? asleep(record, policy) : awake(session, registry)
  const state = approved === undefined ? 'unapproved' : 'approved'
  return {
    nodeId,
    ...known({ ...record, displayName: record.label ?? record.displayName }),
    ...optional('hostStats', record.hostStats),
    caps: held.caps,
    commands: held.commands,
    sessionHost: false,
    ...optional('nodePluginTools', session?.published.pluginTools),
    ...optional('pathEnv', session?.offer.pathEnv),
    ...some('permissions', held.permissions),
    approvalState: request === undefined ? state : approved === undefined ? 'pending-approval' : 'pending-reapproval',
    ...(request === undefined || !decides ? {} : declared(request)),
    ...optional('connectedAtMs', session?.connectedAtMs),
    ...optional('lastConnectedAtMs', record.lastConnectedAtMs),
    ...optional('lastDisconnectedAtMs', session === undefined ? record.lastDisconnectedAtMs : undefined),
    ...(session && registry.activity.of(nodeId, session.link.id)),
    ...optional('lastSeenAtMs', record.lastSeenAtMs),
    ...optional('lastSeenReason', record.lastSeenReason),
    ...optional('approvedAtMs', approved?.approvedAtMs ?? record.pairedAtMs),
    // Without auth no device is on record, and a node that is here is one all the same.
    paired: record.paired || session !== undefined,
    connected: session !== undefined
  }
}

/** A request as `node.pair.list` and `node.pair.requested` show it. */
export function pendingEntry(record: NodeRecord, request: SurfaceRequest): Json {
  const { nodeId } = record
  const { requestId, caps, commands, permissions, silent, ts } = request
  return {
    requestId,
    nodeId,
    ...identity(record),
    caps,
    commands,
    requiredApproveScopes: approvalScopes(commands),
    ...some('permissions', permissions),
    ...optional('silent', silent),
    ts
  }
}

/** A node of which something is approved, as `node.pair.list` and `node.pair.approve` show it. */
export function approvedEntry(record: NodeRecord): Json {
  const { caps, commands, permissions, createdAtMs, approvedAtMs } = record.approved!
  return {
    nodeId: record.nodeId,
    ...identity({ ...record, displayName: record.label ?? record.displayName }),
    caps,
    commands,
    ...some('permissions', permissions),
    createdAtMs,
    approvedAtMs,
    ...optional('lastSeenAtMs', record.lastSeenAtMs),
    ...optional('lastSeenReason', record.lastSeenReason)
  }
}

/** Orders nodes: those that are here first, then by name. */
export function byPresence(a: Json, b: Json): number {
  if (a.connected !== b.connected) return a.connected === true ? -1 : 1
  const name = ({ displayName, nodeId }: Json) => String(displayName ?? nodeId).toLowerCase()
  return name(a).localeCompare(name(b)) || String(a.nodeId).localeCompare(String(b.nodeId))
}

interface Held {
  caps: readonly string[]
  commands: readonly string[]
  permissions: Readonly<Record<string, boolean>>
}

function awake(session: NodeSession, registry: NodeRegistry): Held {
  const { caps, commands, permissions } = registry.effective(session)
  return { caps, commands: [...commands], permissions }
}

function asleep(record: NodeRecord, policy: CommandPolicy): Held {
  const { caps = [], commands = [], permissions = {} } = record.approved ?? {}
  const subject = { platform: platformOf(record), talks: talks(caps, commands) }
  return {
    caps: caps.toSorted(),
    commands: commands.filter((name) => policy.mayRun(name, subject, true)).sort(),
    permissions
  }
}

function declared({ requestId, caps, commands, permissions }: SurfaceRequest): Json {
  return {
    pendingRequestId: requestId,
    pendingDeclaredCaps: caps.toSorted(),
    pendingDeclaredCommands: commands.toSorted(),
    ...some('pendingDeclaredPermissions', permissions)
  }
}

function known(record: NodeRecord): Json {
  return {
    ...optional('displayName', record.displayName),
    platform: record.platform,
    ...optional('version', record.version),
    clientId: record.clientId,
    clientMode: record.clientMode,
    ...optional('deviceFamily', familyOf(record)),
    ...optional('modelIdentifier', record.modelIdentifier),
    ...optional('remoteIp', record.remoteIp)
  }
}

function identity(record: NodeRecord): Json {
  return {
    clientId: record.clientId,
    clientMode: record.clientMode,
    ...optional('displayName', record.displayName),
    platform: record.platform,
    ...optional('version', record.version),
    ...optional('deviceFamily', familyOf(record)),
    ...optional('modelIdentifier', record.modelIdentifier),
    ...optional('remoteIp', record.remoteIp)
  }
}

function optional(key: string, value: unknown): Json {
  return value === undefined ? {} : { [key]: value }
}

function some(key: string, permissions: Readonly<Record<string, boolean>>): Json {
  return Object.keys(permissions).length === 0 ? {} : { [key]: permissions }
}
