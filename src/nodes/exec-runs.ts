const MAX_PER_CONNECTION = 256

/** A command that a connection was told to run. */
export interface ExecRun {
  runId: string
  /** The session that asked for it, where one did. */
  sessionKey: string | undefined
}

/** The command that the params of a `system.run` name; undefined where they name none. */
export function execRunOf(params: unknown): ExecRun | undefined {
  const { runId, sessionKey } = (params ?? {}) as { runId?: unknown; sessionKey?: unknown }
  if (typeof runId !== 'string' || runId === '') return undefined
  return { runId, sessionKey: typeof sessionKey === 'string' && sessionKey !== '' ? sessionKey : undefined }
}

/** Which commands each connection was told to run: what a node says of any other is not believed. */
export class ExecRuns {
  readonly #runs = new Map<string, Map<string, string | undefined>>()

  /** Records that a connection was told to run something. */
  dispatched(connId: string, { runId, sessionKey }: ExecRun): void {
    const runs = this.#runs.get(connId) ?? new Map<string, string | undefined>()
    this.#runs.set(connId, runs)
    runs.set(runId, sessionKey)
    if (runs.size > MAX_PER_CONNECTION) runs.delete(runs.keys().next().value!)
  }

  /** Reports whether a connection was told to run this. */
  has(connId: string, { runId, sessionKey }: ExecRun): boolean {
    const runs = this.#runs.get(connId)
    if (runs === undefined || !runs.has(runId)) return false
    const bound = runs.get(runId)
    return bound === undefined || bound === sessionKey
  }

  /** Forgets a command that has ended. */
  ended(connId: string, runId: string): void {
    this.#runs.get(connId)?.delete(runId)
  }

  /** Forgets a connection. */
  closed(connId: string): void {
    this.#runs.delete(connId)
  }
}
