/** What a node says of its machine. */
export interface HostStats {
  cpuCount?: number
  loadAverage?: [number, number, number]
  memoryTotalBytes?: number
  memoryFreeBytes?: number
  diskTotalBytes?: number
  diskAvailableBytes?: number
  updatedAtMs?: number
}

/** A node, as `node.list` and `node.describe` tell it. */
export interface NodeEntry {
  nodeId: string
  displayName?: string
  clientId?: string
  platform?: string
  version?: string
  deviceFamily?: string
  modelIdentifier?: string
  remoteIp?: string
  caps?: string[]
  commands?: string[]
  permissions?: Record<string, boolean>
  paired?: boolean
  approvedAtMs?: number
  approvalState?: string
  pendingRequestId?: string
  pendingDeclaredCaps?: string[]
  pendingDeclaredCommands?: string[]
  pendingDeclaredPermissions?: Record<string, boolean>
  connected?: boolean
  connectedAtMs?: number
  lastConnectedAtMs?: number
  lastDisconnectedAtMs?: number
  lastSeenAtMs?: number
  lastActiveAtMs?: number
  active?: boolean
  hostStats?: HostStats
}

/** What a node would like to be allowed, as `node.pair.list` tells it. */
export interface NodeRequest {
  requestId: string
  nodeId: string
  displayName?: string
  clientId?: string
  platform?: string
  remoteIp?: string
  caps?: string[]
  commands?: string[]
  permissions?: Record<string, boolean>
  requiredApproveScopes?: string[]
  ts: number
}
