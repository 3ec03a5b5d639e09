import type { LogTail } from '../../rpc/log-tail.ts'
import type { Io } from '../io.ts'
import { jsonText, printable, styleOf } from '../output.ts'
import { isAtLeast, lineText, parseLine } from './line.ts'

/** How lines are shown. */
export interface Show {
  json: boolean
  utc: boolean
  /** The least level; undefined: every line. */
  level: string | undefined
  /** How many lines at first. */
  limit: number
}

/** Prints the answers of one log, each after the one before. */
export class LogPrinter {
  readonly #io: Io
  readonly #show: Show
  /** Where the next answer is to begin; undefined before the first. */
  cursor: number | undefined

  constructor(io: Io, show: Show) {
    this.#io = io
    this.#show = show
  }

  /** Prints an answer. `offline` says that it was read from the file of a gateway that does not answer. */
  print({ file, cursor, size, lines, truncated, reset }: LogTail, offline: boolean): void {
    const { json, limit } = this.#show
    const first = this.cursor === undefined
    this.cursor = cursor
    if (first && json) this.#write({ type: 'meta', file, sourceKind: 'file', cursor, size, localFallback: offline })
    else if (first) this.#io.stderr(`Log file: ${printable(file)}`)
    const wanted = lines.map(parseLine).filter((line) => isAtLeast(line, this.#show.level))
    for (const line of first ? wanted.slice(-limit) : wanted) {
      const { time, level, subsystem, message, raw } = line
      if (json) this.#write({ type: 'log', time, level, subsystem, message, raw })
      else this.#io.stdout(lineText(line, styleOf(this.#io), this.#show.utc))
    }
    if (reset === true) this.notice('the log was put aside, and a new one begun')
    if (truncated === true && !first) this.notice('lines were left out: there were too many since the last look')
  }

  /** Tells what is not a part of the log. */
  notice(message: string): void {
    this.#io.stderr(this.#show.json ? jsonText({ type: 'notice', message }) : `[logs] ${printable(message)}`)
  }

  #write(record: object): void {
    this.#io.stdout(jsonText(record))
  }
}
