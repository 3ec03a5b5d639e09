import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Decision, ExecApprovalRequestParams, ExecRequest } from '../protocol/approvals.ts'
import { invalidRequest } from '../protocol/errors.ts'
import { planDigest } from './plan.ts'
import { commandsOf } from './script.ts'

/** A request as it is kept, and the digest of the command that it binds. */
export interface Prepared {
  request: ExecRequest
  digest: string | undefined
}

const MAX_BYTES = 65_536

/** Makes what is kept and shown of a request; throws for one that does not say what would run. */
export function prepareRequest(params: ExecApprovalRequestParams): Prepared {
  // A person reads this, so it can be no longer than a person would.
  if (Buffer.byteLength(JSON.stringify(params)) > MAX_BYTES) throw invalidRequest('the approval request is too large')
  const { host = null, env } = params
  const plan = host === 'node' ? planOf(params) : undefined
  // What a node runs is its argv, whatever text came along.
  const command = plan === undefined ? params.command : commandLine(plan.argv)
  if (command === undefined) throw invalidRequest('command is required')
  const argv = plan?.argv ?? (sameCommand(command, params.commandArgv) ? params.commandArgv : undefined)
  const cwd = (plan === undefined ? params.cwd : plan.cwd) ?? null
  const agentId = (plan === undefined ? params.agentId : plan.agentId) || null
  const sessionKey = (plan === undefined ? params.sessionKey : plan.sessionKey) || null
  const digest = argv && planDigest({ argv, cwd: cwd ?? undefined, ...(env === undefined ? {} : { env }) })
  const { commandArgv, unavailableDecisions } = params
  const request: ExecRequest = {
    command: visible(command),
    ...(plan === undefined && commandArgv !== undefined ? { commandArgv } : {}),
    ...(env === undefined ? {} : { envKeys: Object.keys(env).sort() }),
    systemRunBinding: plan === undefined ? null : { argv: plan.argv, cwd, agentId, sessionKey, envHash: envHash(env) },
    systemRunPlan: plan ?? null,
    cwd,
    nodeId: params.nodeId ?? null,
    host,
    security: params.security ?? null,
    ask: params.ask ?? null,
    warningText: params.warningText == null ? null : visible(params.warningText),
    scope: params.scope ?? null,
    ...(unavailableDecisions === undefined ? {} : { unavailableDecisions }),
    allowedDecisions: allowedDecisions(params),
    agentId,
    resolvedPath: params.resolvedPath ?? null,
    sessionKey,
    sessionId: params.sessionId ?? null,
    runId: params.runId ?? null,
    toolCallId: params.toolCallId ?? null,
    turnSourceChannel: params.turnSourceChannel ?? null,
    turnSourceTo: params.turnSourceTo ?? null,
    turnSourceAccountId: params.turnSourceAccountId ?? null,
    turnSourceThreadId: params.turnSourceThreadId ?? null
  }
  return { request, digest }
}

/** A hash that stands for environment values, which are not kept. */
export function envHash(env: Readonly<Record<string, string>> | undefined): string | null {
  const entries = Object.entries(env ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.length === 0 ? null : createHash('sha256').update(JSON.stringify(entries)).digest('hex')
}

function planOf({ nodeId, systemRunPlan }: ExecApprovalRequestParams) {
  if (nodeId == null) throw invalidRequest('nodeId is required for host=node')
  if (systemRunPlan === undefined) throw invalidRequest('systemRunPlan is required for host=node')
  return systemRunPlan
}

// Where a person is to be asked each time, no answer can be for all times.
function allowedDecisions({ ask, unavailableDecisions = [] }: ExecApprovalRequestParams): Decision[] {
  return ask === 'always' || unavailableDecisions.length > 0
    ? ['allow-once', 'deny']
    : ['allow-once', 'allow-always', 'deny']
}

/** Reports whether a text and an argv are the same command for certain: what was read is then what a rule allows. */
function sameCommand(text: string, argv: readonly string[] | undefined): boolean {
  if (argv === undefined) return false
  const [shell = '', flag = '', script, ...more] = argv
  const isShell = /^(\/(usr\/)?bin\/)?(ba|da|z)?sh$/.test(shell)
  if (isShell && /^-l?c$/.test(flag)) return script === text && more.length === 0
  const commands = commandsOf(text)
  return commands?.length === 1 && isDeepStrictEqual(commands[0], argv)
}

function commandLine(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
}

// What is invisible, or moves what is visible, is no way to read a command.
function visible(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) =>
      char === '\n' || char === '\t' ? char : `\\u{${char.codePointAt(0)!.toString(16)}}`
    )
}
