import { DECISIONS, type Decision } from '../../protocol/approvals.ts'
import { parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printable, printJson, styleOf } from '../output.ts'
import { TIMEOUT_MS } from './host.ts'

/** How a decision is given. */
export interface DecideOptions extends TargetOptions {
  /** Shown with the outcome; kept nowhere. */
  reason?: string
  always?: boolean
}

/** A request that waits, of any kind. */
interface Waiting {
  id: string
  createdAtMs: number
  expiresAtMs: number
  request: {
    command?: string
    title?: string
    description?: string
    cwd?: string | null
    host?: string | null
    nodeId?: string | null
    agentId?: string | null
    sessionKey?: string | null
    warningText?: string | null
    allowedDecisions?: string[]
  }
}

/** A request and its end, as every kind of approval is shown. */
interface Shown {
  id: string
  status: 'pending' | 'allowed' | 'denied' | 'expired' | 'cancelled'
  decision?: string
  presentation: { kind: string; commandText?: string; title?: string; allowedDecisions?: string[] }
}

type Ask = <T>(method: string, params: object) => Promise<T>

const LISTS = { exec: 'exec.approval.list', plugin: 'plugin.approval.list', 'system-agent': 'openclaw.approval.list' }
const PENDING = 'openclaw approvals pending'

/** `approvals pending` */
export async function pending(io: Io, options: TargetOptions): Promise<void> {
  const lists = await withAsk(io, options, (ask) =>
    Promise.all(
      Object.entries(LISTS).map(async ([kind, method]) =>
        (await ask<Waiting[]>(method, {})).map((each) => ({ kind, ...each }))
      )
    )
  )
  const waiting = lists.flat().sort((a, b) => a.createdAtMs - b.createdAtMs)
  if (options.json === true) {
    return printJson(io, { approvals: waiting.map((each) => ({ ...each, summary: summaryOf(each) })) })
  }
  if (waiting.length === 0) return io.stdout('Nothing waits for an answer.')
  const style = styleOf(io)
  for (const each of waiting) {
    const { id, request, kind } = each
    io.stdout(`${style.bold(printable(id))}${kind === 'exec' ? '' : ` (${kind})`}`)
    // Each line of a command shows that it is one: no command can look like what stands around it.
    for (const line of summaryOf(each).split('\n')) io.stdout(`  > ${printable(line)}`)
    if (request.warningText) io.stdout(style.yellow(`  ! ${flat(request.warningText)}`))
    io.stdout(style.dim(`  ${aboutOf(each)}`))
    io.stdout(style.dim(`  answers: ${(request.allowedDecisions ?? DECISIONS).map(flat).join(', ')}`))
  }
  io.stdout('\nAnswer with: openclaw approvals resolve ID allow-once|allow-always|deny')
}

/** `approvals resolve`, and its short forms `approve` and `deny` */
export async function resolve(io: Io, which: string, said: string, options: DecideOptions): Promise<void> {
  const decision = DECISIONS.find((each) => each === said)
  if (decision === undefined) {
    throw new CliError('USAGE', `unknown decision "${said}"; use ${DECISIONS.join(', ')}`, {
      fix: `openclaw approvals resolve ${which} allow-once`
    })
  }
  await withAsk(io, options, async (ask) => {
    const before = await find(ask, which.trim())
    const { kind, allowedDecisions = DECISIONS } = before.presentation
    if (before.status === 'pending' && !allowedDecisions.includes(decision)) {
      throw new CliError('APPROVAL_DECISION_UNAVAILABLE', `${decision} is not among the answers to this request`, {
        fix: `openclaw approvals resolve ${before.id} ${allowedDecisions[0] ?? 'deny'}`
      })
    }
    const { applied, approval } = await ask<{ applied: boolean; approval: Shown }>('approval.resolve', {
      id: before.id,
      kind,
      decision
    })
    if (!applied && approval.decision !== decision) throw otherwise(approval)
    if (options.json === true) return printJson(io, { applied, approval })
    const note = options.reason === undefined ? '' : ` (${options.reason})`
    if (!applied) return io.stdout(printable(`${approval.id}: already resolved (same decision)${note}`))
    io.stdout(printable(`${DONE[decision]} ${flat(textOf(approval))}${note}`))
  })
}

const DONE: Record<Decision, string> = {
  'allow-once': 'Allowed once:',
  'allow-always': 'Allowed from now on:',
  deny: 'Denied:'
}

// The whole id, or the start of one that waits.
async function find(ask: Ask, which: string): Promise<Shown> {
  try {
    return (await ask<{ approval: Shown }>('approval.get', { id: which })).approval
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'INVALID_REQUEST') throw error
    const { id } = await ask<{ id: string }>('exec.approval.get', { id: which })
    return (await ask<{ approval: Shown }>('approval.get', { id })).approval
  }
}

function otherwise({ status, decision }: Shown): CliError {
  if (status === 'expired') {
    return new CliError('APPROVAL_EXPIRED', 'this request has ended: its time ran out', { fix: PENDING })
  }
  return new CliError('APPROVAL_ALREADY_RESOLVED', `this request was answered already: ${decision ?? status}`, {
    fix: PENDING
  })
}

function withAsk<T>(io: Io, options: TargetOptions, work: (ask: Ask) => Promise<T>): Promise<T> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  return withGateway(io, options, { scopes: ['operator.approvals'], timeoutMs }, ({ client }) =>
    work((method, params) => client.request(method, params, { timeoutMs }))
  )
}

function summaryOf({ request }: Waiting): string {
  return request.command ?? request.title ?? request.description ?? ''
}

function textOf({ id, presentation }: Shown): string {
  return presentation.commandText ?? presentation.title ?? id
}

function aboutOf({ request, createdAtMs, expiresAtMs }: Waiting): string {
  const { host, nodeId, cwd, agentId, sessionKey } = request
  const now = Date.now()
  const parts = [
    nodeId ? `on node ${nodeId}` : host && `on the ${host}`,
    cwd && `in ${cwd}`,
    agentId && `agent ${agentId}`,
    sessionKey && `session ${sessionKey}`,
    `asked ${formatDuration(Math.max(1_000, now - createdAtMs))} ago`,
    `ends in ${formatDuration(Math.max(1_000, expiresAtMs - now))}`
  ]
  return flat(parts.filter((part) => part).join(', '))
}

function flat(text: string): string {
  return printable(text).replaceAll('\n', ' ')
}
