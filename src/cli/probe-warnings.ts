import type { GatewayReport } from './status.ts'

/** One gateway that a probe has looked at. */
export interface ProbeTarget {
  id: string
  label: string
  report: GatewayReport
}

/** What a probe warns of; scripts read the code. */
export interface ProbeWarning {
  code:
    | 'no_gateway_reachable'
    | 'multiple_gateways'
    | 'probe_scope_limited'
    | 'probe_detail_failed'
    | 'ssh_tunnel_failed'
    | 'ssh_auto_undecided'
    | 'auth_secretref_unresolved'
    | 'local_tls_runtime_unavailable'
  message: string
  targetIds: string[]
}

/** Reports whether a gateway let the caller in, and only the scope to read was missing. */
export function isScopeLimited({ auth, facts }: Pick<GatewayReport, 'auth' | 'facts'>): boolean {
  return auth !== undefined && facts.rpc.state === 'no' && !auth.scopes.some((scope) => READ.has(scope))
}

const READ = new Set(['operator.admin', 'operator.write', 'operator.read'])

/** What is worth a warning in what was seen, all targets together. */
export function warningsOf(targets: readonly ProbeTarget[]): ProbeWarning[] {
  const reached = targets.filter(({ report }) => report.reachable)
  const warnings: ProbeWarning[] = targets
    .filter(({ report }) => report.error?.code.startsWith('SSH_') === true)
    .map(({ id, report }) => ({ code: 'ssh_tunnel_failed', message: report.error!.message, targetIds: [id] }))
  if (reached.length === 0) {
    const message = 'no gateway answered; "openclaw doctor" finds out why'
    return [...warnings, { code: 'no_gateway_reachable', message, targetIds: targets.map(({ id }) => id) }]
  }
  if (new Set(reached.map((each) => identityOf(each, reached))).size > 1) {
    const message = 'more than one gateway answers, or it cannot be told that they are one'
    warnings.push({ code: 'multiple_gateways', message, targetIds: reached.map(({ id }) => id) })
  }
  for (const { id, label, report } of reached) {
    if (isScopeLimited(report)) {
      const message = `${label}: it let this host in, and the credential is not good for reading: missing scope operator.read`
      warnings.push({ code: 'probe_scope_limited', message, targetIds: [id] })
    } else if (report.error !== undefined) {
      const message = `${label}: it answers, and not what was asked: ${report.error.message}`
      warnings.push({ code: 'probe_detail_failed', message, targetIds: [id] })
    }
  }
  return warnings
}

// A process is known by the one id that it gave itself at its start, to whoever was let in; an address leads to one.
function identityOf({ report }: ProbeTarget, all: readonly ProbeTarget[]): string {
  return (
    report.bootId ??
    all.find((each) => each.report.url === report.url && each.report.bootId)?.report.bootId ??
    report.url
  )
}
