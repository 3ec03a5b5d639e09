import type { Static, TSchema } from 'typebox'

/** One invocation, as its command sees it. */
export interface Invocation {
  /** Aborted when the caller gives up, the gateway is lost or the node stops. */
  signal: AbortSignal
  /** Milliseconds until nobody waits for the result any more; undefined when nobody said. */
  budgetMs: number | undefined
  /**
   * Streams a piece of output to whoever follows this invocation. Where the streams stay apart, it names its own, and is
   * bytes in latin1; of `stdin`, it is the number of bytes that the command has taken so far.
   */
  progress(chunk: string, stream?: 'stdin' | 'stdout' | 'stderr'): void
  /** Aborted when the gateway does not take what is streamed. */
  unheard: AbortSignal
  /** Hands over what the caller sends while the command runs. */
  onInput(listener: (payload: unknown) => void): void
  /** Tells the gateway of something beside the result. */
  emit(event: string, payload: unknown): Promise<void>
}

/** A command that the gateway may invoke on this node. */
export interface NodeCommand {
  name: string
  /** The capability that `connect` declares for it. */
  cap: string
  params: TSchema
  run(params: unknown, invocation: Invocation): Promise<unknown>
}

/** Defines a command, its params typed by their schema. */
export function defineCommand<S extends TSchema>(command: {
  name: string
  cap: string
  params: S
  run(params: Static<S>, invocation: Invocation): Promise<unknown>
}): NodeCommand {
  return command as NodeCommand
}

/** A failure that the caller is told, with the code it knows it by. */
export class CommandError extends Error {
  readonly code: string

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'CommandError'
    this.code = code
  }
}

/** More input has come than the command has read. Some of it left out would be worse than none. */
export function inputOverflow(): CommandError {
  return new CommandError('INPUT_OVERFLOW', 'input comes faster than the command reads it')
}
