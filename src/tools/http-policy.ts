import { type Scope, satisfies } from '../protocol/scopes.ts'

/** Tools that run commands, write files, reach other machines or change the gateway: not over HTTP by themselves. */
const guarded: ReadonlySet<string> = new Set([
  'exec',
  'spawn',
  'shell',
  'fs_write',
  'fs_delete',
  'fs_move',
  'apply_patch',
  'sessions_spawn',
  'sessions_send',
  'cron',
  'gateway',
  'nodes'
])

/**
 * Reports whether HTTP offers a tool to a caller. `gateway.tools.allow` opens a guarded one to admins and to nobody
 * else; what `gateway.tools.deny` names stays closed, whatever else is said of it.
 */
export function offeredOverHttp(
  name: string,
  { allow, deny }: { allow: readonly string[]; deny: readonly string[] },
  scopes: ReadonlySet<Scope>
): boolean {
  if (deny.some((each) => each === '*' || each.trim().toLowerCase() === name)) return false
  return !guarded.has(name) || (allow.includes(name) && satisfies(scopes, 'operator.admin'))
}
