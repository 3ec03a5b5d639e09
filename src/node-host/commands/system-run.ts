import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { type Static, Type } from 'typebox'
import type { Evaluation } from '../../approvals/policy.ts'
import { isExact } from '../../approvals/rules.ts'
import { type BoundFile, bindFile } from '../bound-file.ts'
import { CommandError, defineCommand, type Invocation, inputOverflow } from '../command.ts'
import { childEnvironment } from '../environment.ts'
import type { ExecPolicy } from '../exec-policy.ts'
import { TRUNCATED } from '../output.ts'
import { OutputWindow } from '../output-window.ts'
import type { PreparedRuns } from '../prepared-runs.ts'
import { isPlanned, RunPlan } from '../run-plan.ts'
import { type ProgramInput, type ProgramResult, runProgram } from '../run-program.ts'
import { type RunPlaces, type RunRequest, runFields, runRequest } from './run-request.ts'

/** What both streams of a command may come to, and what of it an event repeats. */
const MAX_OUTPUT = 200_000
const MAX_EVENT_OUTPUT = 20_000
const MAX_TIMEOUT_MS = 24 * 3_600_000

const flag = Type.Optional(Type.Boolean())

const RunParams = Type.Object({
  ...runFields,
  timeoutMs: Type.Optional(Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: MAX_TIMEOUT_MS }), Type.Null()])),
  systemRunPlan: Type.Optional(Type.Union([RunPlan, Type.Null()])),
  approved: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  approvalDecision: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  needsScreenRecording: flag,
  suppressNotifyOnExit: flag,
  // Ours: keeps standard input open for `node.invoke.input`.
  stdin: Type.Optional(Type.Literal('pipe')),
  // Ours: streams all output, exact and each piece with the name of its stream, as far as the caller says that it has
  // taken it; and tells how much input was taken.
  streams: Type.Optional(Type.Literal('apart'))
})
type RunParams = Static<typeof RunParams>

/** `system.run`: runs a command on this machine, as far as its policy or an approval goes. */
export function systemRun(deps: { places: RunPlaces; policy: ExecPolicy; prepared: PreparedRuns }) {
  return defineCommand({
    name: 'system.run',
    cap: 'system',
    params: RunParams,
    run: async (params, invocation) => {
      const report = reporter(params, invocation)
      const request = await admit(params, deps, report)
      return execute(params, request, deps.places, invocation, report)
    }
  })
}

type Report = (event: 'exec.finished' | 'exec.denied', details: Record<string, unknown>) => Promise<void>

// Whoever waits for the command may not be whoever asked for it: they hear of it by an event.
function reporter({ sessionKey, runId, suppressNotifyOnExit = false }: RunParams, { emit }: Invocation): Report {
  const ids = { sessionKey: sessionKey ?? 'node', runId: runId ?? randomUUID(), host: 'node' }
  return (event, details) => emit(event, { ...ids, ...details, suppressNotifyOnExit })
}

async function admit(
  params: RunParams,
  { places, policy, prepared }: { places: RunPlaces; policy: ExecPolicy; prepared: PreparedRuns },
  report: Report
): Promise<RunRequest> {
  const approved = params.approved === true || /^allow-(once|always)$/.test(params.approvalDecision ?? '')
  const plan = params.systemRunPlan ?? undefined
  if (plan === undefined ? approved : !isPlanned(nonNull(params), plan)) {
    throw new CommandError('INVALID_REQUEST', 'explicit approval requires matching systemRunPlan')
  }
  const settings = await policy.snapshot(params.agentId ?? undefined)
  const anything = settings.security === 'full' && settings.ask === 'off'
  const request = runRequest(params, places, anything ? 'any-harmless' : 'allowed-names')
  const deny = async (reason: string, message: string) => {
    await report('exec.denied', { command: request.text, reason })
    return new CommandError('SYSTEM_RUN_DENIED', message)
  }
  if (params.needsScreenRecording === true) {
    throw await deny('permission:screenRecording', 'PERMISSION_MISSING: screenRecording')
  }
  const evaluation = await policy.decide(request.plan)
  if (evaluation.verdict === 'deny') throw await deny(...refusal(evaluation))
  const { argv, cwd, lookup } = request.plan
  const asked = evaluation.verdict === 'ask'
  const always = asked && params.approvalDecision === 'allow-always'
  const generated = evaluation.rule !== undefined && isExact(evaluation.rule)
  // Found anew, whatever the plan leaves out: the words of a command do not say what is in its script by now.
  const binding = asked || generated ? await bindFile(argv, cwd, lookup) : { file: undefined }
  const lasts = 'file' in binding && binding.file === undefined
  if (asked || !lasts) {
    if (!approved || plan === undefined) {
      throw await deny('approval-required', 'SYSTEM_RUN_DENIED: approval required')
    }
    if (!prepared.isSameEnvironment(request.plan)) {
      throw await deny('approval-required', 'SYSTEM_RUN_DENIED: the environment is not the approved one')
    }
    const reason = 'unbindable' in binding ? binding.unbindable : unlike(binding.file, plan.mutableFileOperand)
    if (reason !== undefined) throw await deny('approval-required', `SYSTEM_RUN_DENIED: ${reason}`)
  }
  // Of a file that may change, a rule would run whatever is in it by then.
  if (always && lasts) await policy.allowFromNowOn(request.plan)
  else await policy.used(evaluation, request.plan)
  return request
}

// Why a file that would run is not the approved one.
function unlike(file: BoundFile | undefined, approved: RunPlan['mutableFileOperand']): string | undefined {
  if (isDeepStrictEqual(file, approved ?? undefined)) return undefined
  return approved ? 'approval script operand changed before execution' : 'approval misses its script operand'
}

function refusal({ reason }: Evaluation): [reason: string, message: string] {
  if (reason === 'security-deny') return ['security=deny', 'SYSTEM_RUN_DISABLED: security=deny']
  if (reason === 'malformed') return ['malformed', 'SYSTEM_RUN_DENIED: the command cannot be run as it is']
  return ['allowlist-miss', 'SYSTEM_RUN_DENIED: allowlist miss']
}

async function execute(
  params: RunParams,
  { plan, text }: RunRequest,
  { env }: RunPlaces,
  invocation: Invocation,
  report: Report
): Promise<unknown> {
  const limits = [params.timeoutMs ?? undefined, invocation.budgetMs].filter((each) => each !== undefined)
  const apart = params.streams === 'apart'
  const overflow = new AbortController()
  const window = new OutputWindow()
  invocation.unheard.addEventListener('abort', () => window.open())
  const hear = (piece: unknown) => {
    const { taken } = (piece ?? {}) as { taken?: unknown }
    if (typeof taken === 'number') window.taken(taken)
  }
  if (apart && params.stdin !== 'pipe') invocation.onInput(hear)
  const take = (input: ProgramInput) => {
    let bytes = 0
    const taken = (count: number) => {
      bytes += count
      if (apart) invocation.progress(String(bytes), 'stdin')
    }
    invocation.onInput((piece) => {
      hear(piece)
      if (!feed(input, piece, taken)) overflow.abort(inputOverflow())
    })
    // It has started, and reads from now on.
    taken(0)
  }
  const result = await runProgram({
    // What was judged is what runs, whatever the PATH leads to by now.
    file: plan.resolvedPath ?? plan.argv[0]!,
    argv: plan.argv,
    cwd: plan.cwd,
    env: childEnvironment(env, plan.env),
    timeoutMs: limits.length === 0 ? undefined : Math.min(...limits),
    maxOutputBytes: MAX_OUTPUT,
    signal: AbortSignal.any([invocation.signal, overflow.signal]),
    onOutput(text, bytes, stream) {
      if (!apart) {
        if (text !== '') invocation.progress(text)
        return undefined
      }
      invocation.progress(bytes.toString('latin1'), stream)
      return window.sent(bytes.length)
    },
    ...(params.stdin === 'pipe' ? { onStart: take } : {})
  })
  invocation.signal.throwIfAborted()
  overflow.signal.throwIfAborted()
  const { exitCode, signal, timedOut, stdout, stderr, truncated } = result
  const error = explained(result, text)
  const outcome = { ...(exitCode === undefined ? {} : { exitCode }), timedOut, success: exitCode === 0 && !timedOut }
  await report('exec.finished', { command: text, ...outcome, output: tail([stdout, stderr, error ?? '']) })
  const more = { ...(truncated ? { truncated } : {}), ...(signal === undefined ? {} : { signal }) }
  return { ...outcome, stdout, stderr, error: error ?? null, ...more }
}

// Reports whether there was room for it.
function feed(input: ProgramInput, piece: unknown, taken: (count: number) => void): boolean {
  const { data, dataBase64, end } = (typeof piece === 'object' && piece !== null ? piece : {}) as Record<
    string,
    unknown
  >
  const bytes =
    typeof data === 'string'
      ? Buffer.from(data)
      : Buffer.from(typeof dataBase64 === 'string' ? dataBase64 : '', 'base64')
  const room = bytes.length === 0 || input.write(bytes, () => taken(bytes.length))
  if (end === true) input.end()
  return room
}

function explained({ error }: ProgramResult, text: string): string | undefined {
  if (error === undefined) return undefined
  return `the node could not start ${text.slice(0, 256)}: ${error}`
}

function tail(parts: readonly string[]): string {
  const all = parts
    .filter((part) => part !== '')
    .join('\n')
    .trimEnd()
  return all.length <= MAX_EVENT_OUTPUT ? all : `${TRUNCATED} ${all.slice(-MAX_EVENT_OUTPUT)}`
}

// A key that is null and one that is absent say the same.
function nonNull(params: RunParams) {
  const { command, cwd, rawCommand, agentId, sessionKey } = params
  return {
    command,
    cwd: cwd ?? undefined,
    rawCommand: rawCommand ?? undefined,
    agentId: agentId ?? undefined,
    sessionKey: sessionKey ?? undefined
  }
}
