import { SCOPES, type Scope } from '../protocol/scopes.ts'

// Grouped by the least scope that each needs. A method that is not here is asked for with every scope, and the gateway
// grants what the credential allows.
const LEAST: Partial<Record<Scope, string>> = {
  'operator.admin': `
    device.pair.grant device.pair.launchLink device.pair.setupCode device.pair.setupStatus gateway.audit.list
    gateway.tokens.create gateway.tokens.list gateway.tokens.revoke`,
  'operator.read': `
    agent.identity.get agents.list artifacts.list audit.activity.list board.get channels.status chat.history
    chat.metadata chat.startup commands.list config.get config.schema config.schema.lookup cron.list cron.runs
    cron.status diagnostics.lanes diagnostics.stability environments.list gateway.identity.get health last-heartbeat
    logs.tail models.authStatus models.list node.describe node.list plugins.list projects.list sessions.describe
    sessions.get sessions.list sessions.preview sessions.resolve sessions.usage skills.status status system-presence
    system.info talk.catalog tasks.list tools.catalog tools.effective usage.cost usage.status users.list`,
  'operator.write': 'chat.abort chat.send node.invoke send users.self wake worktrees.list',
  'operator.pairing': `
    device.pair.approve device.pair.list device.pair.reject device.pair.remove device.pair.rename device.token.revoke
    device.token.rotate node.pair.approve node.pair.list node.pair.reject node.pair.remove node.rename`,
  'operator.approvals': `
    approval.get approval.history approval.resolve exec.approval.get exec.approval.grants.list
    exec.approval.grants.revoke exec.approval.list exec.approval.request exec.approval.resolve
    exec.approval.waitDecision openclaw.approval.list plugin.approval.list`,
  'operator.questions': 'question.list question.resolve'
}

/** The scopes to ask for in order to call a method: the least it needs, or all when that is not known here. */
export function scopesFor(method: string): Scope[] {
  for (const [scope, methods] of Object.entries(LEAST) as [Scope, string][]) {
    if (methods.split(/\s+/).includes(method)) return [scope]
  }
  return [...SCOPES]
}
