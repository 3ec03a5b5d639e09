/** What a node's event says that a person may want to know; undefined where it says nothing. */
export type Told = string | undefined

/** An event of a command that a node ran. */
export interface ExecEvent {
  runId: string
  sessionKey: string | undefined
  command: string
  exitCode: number | undefined
  timedOut: boolean
  output: string
  /** Whoever ran it does not want to hear of it. */
  quiet: boolean
}

const MAX_READ = 65_536
const MAX_COMMAND = 200
const MAX_OUTPUT = 400

/** The exec event that a payload holds; undefined where it holds none. */
export function execEventOf(payload: unknown): ExecEvent | undefined {
  if (!isRecord(payload)) return undefined
  const { runId, sessionKey, command, exitCode, timedOut, output, suppressNotifyOnExit } = payload
  return {
    // One that nobody gave is nobody's.
    runId: typeof runId === 'string' ? runId : '',
    sessionKey: typeof sessionKey === 'string' && sessionKey !== '' ? sessionKey : undefined,
    command: compact(command),
    exitCode: typeof exitCode === 'number' ? exitCode : undefined,
    timedOut: timedOut === true,
    // What went wrong is said last.
    output: compact(typeof output === 'string' ? output.slice(-MAX_READ) : output),
    quiet: suppressNotifyOnExit === true
  }
}

/** A line for a command that began. */
export function startedLine(nodeId: string, { runId, command }: ExecEvent): string {
  const head = `Exec started (node=${nodeId} id=${runId})`
  return command === '' ? head : `${head}: ${start(command, MAX_COMMAND)}`
}

/** A line for a command that ended; undefined for one that went well and said nothing. */
export function finishedLine(nodeId: string, { runId, exitCode, timedOut, output }: ExecEvent): Told {
  if (!timedOut && exitCode === 0 && output === '') return undefined
  const how = timedOut ? 'timeout' : `code ${exitCode ?? '?'}`
  const head = `Exec finished (node=${nodeId} id=${runId}, ${how})`
  return output === '' ? head : `${head}\n${output.length > MAX_OUTPUT ? `…${output.slice(-MAX_OUTPUT)}` : output}`
}

/** A line for words that a node heard, or that someone typed there. Nobody acts on them. */
export function saidLine(nodeId: string, what: string, words: unknown): Told {
  const text = compact(words)
  return text === '' ? undefined : `${what} (node=${nodeId}): ${start(text, MAX_OUTPUT)}`
}

/** The fields of a payload; none where it is not an object. */
export function recordOf(payload: unknown): Record<string, unknown> {
  return isRecord(payload) ? payload : {}
}

function isRecord(payload: unknown): payload is Record<string, unknown> {
  return typeof payload === 'object' && payload !== null && !Array.isArray(payload)
}

function compact(text: unknown): string {
  return typeof text === 'string' ? text.slice(0, MAX_READ).replaceAll(/\s+/g, ' ').trim() : ''
}

function start(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text
}
