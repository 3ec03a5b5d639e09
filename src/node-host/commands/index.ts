import type { NodeCommand } from '../command.ts'
import type { ExecPolicy } from '../exec-policy.ts'
import type { McpServers } from '../mcp/servers.ts'
import { PreparedRuns } from '../prepared-runs.ts'
import { execApprovalsGet, execApprovalsSet } from './exec-approvals.ts'
import { fsListDir } from './fs-list-dir.ts'
import { mcpToolsCall } from './mcp-tools-call.ts'
import type { RunPlaces } from './run-request.ts'
import { notifier, systemNotify } from './system-notify.ts'
import { systemRun } from './system-run.ts'
import { systemRunPrepare } from './system-run-prepare.ts'
import { systemWhich } from './system-which.ts'

/** What the commands of a node work with. */
export interface CommandDeps {
  places: RunPlaces
  policy: ExecPolicy
  approvalsPath: string
  mcp: McpServers
}

/** Every command of this node, in the order of their names. */
export function nodeCommands({ places, policy, approvalsPath, mcp }: CommandDeps): NodeCommand[] {
  const prepared = new PreparedRuns()
  return [
    fsListDir(),
    mcpToolsCall(mcp),
    execApprovalsGet(approvalsPath),
    execApprovalsSet(approvalsPath),
    // Offered only where it can work.
    ...(notifier(places.env) === undefined ? [] : [systemNotify(places.env)]),
    systemRun({ places, policy, prepared }),
    systemRunPrepare({ places, policy, prepared }),
    systemWhich(places.env)
  ]
}
