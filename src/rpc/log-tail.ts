import { type FileHandle, open } from 'node:fs/promises'

/** Which lines of a log are wanted. */
export interface TailQuery {
  /** Where the last answer ended; without one, the latest lines. */
  cursor?: number | undefined
  limit?: number | undefined
  maxBytes?: number | undefined
}

/** Lines of a log, the oldest first, and where to go on. */
export interface LogTail {
  file: string
  /** Where these lines end: the next `cursor`. */
  cursor: number
  /** The size of the file, in bytes. */
  size: number
  lines: string[]
  /** Set where lines were left out, before these. */
  truncated?: boolean
  skippedBytes?: number
  /** Set where the cursor is of a file that was put aside meanwhile. */
  reset?: boolean
}

const DEFAULT_LINES = 500
const DEFAULT_BYTES = 250_000

/** Reads whole lines of a log from a cursor on; what is in the file that was put aside last counts as before it. */
export async function tailLog(file: string, query: TailQuery): Promise<LogTail> {
  const { cursor, limit = DEFAULT_LINES, maxBytes = DEFAULT_BYTES } = query
  const handle = await open(file, 'r').catch(() => undefined)
  if (handle === undefined) return { file, cursor: 0, size: 0, lines: [] }
  try {
    const { size } = await handle.stat()
    // A cursor beyond the end is of a file that was put aside.
    const reset = cursor !== undefined && cursor > size
    const now = await linesOf(handle, size, reset ? 0 : cursor, maxBytes)
    const wantsOlder = reset || (cursor === undefined && now.skipped === 0 && now.lines.length < limit)
    const older = wantsOlder ? await olderLines(`${file}.1`, cursor, maxBytes - size) : undefined
    const lines = [...(older?.lines ?? []), ...now.lines]
    const skippedBytes = now.skipped + (reset ? (older?.skipped ?? 0) : 0)
    const truncated = skippedBytes > 0 || lines.length > limit
    return {
      file,
      cursor: now.end,
      size,
      lines: lines.slice(-limit),
      ...(truncated ? { truncated, skippedBytes } : {}),
      ...(reset ? { reset } : {})
    }
  } finally {
    await handle.close()
  }
}

interface Lines {
  lines: string[]
  /** Where the last whole one ends. */
  end: number
  /** Bytes that were wanted, and are too many. */
  skipped: number
}

async function olderLines(file: string, cursor: number | undefined, maxBytes: number): Promise<Lines | undefined> {
  const handle = maxBytes > 0 ? await open(file, 'r').catch(() => undefined) : undefined
  if (handle === undefined) return undefined
  try {
    const { size } = await handle.stat()
    return cursor !== undefined && cursor > size ? undefined : await linesOf(handle, size, cursor, maxBytes)
  } finally {
    await handle.close()
  }
}

// Whole lines only: the rest of the last one comes with the next call, and the first one that is cut is left out.
async function linesOf(handle: FileHandle, size: number, cursor: number | undefined, maxBytes: number): Promise<Lines> {
  const from = cursor ?? 0
  const start = Math.max(from, size - maxBytes)
  const buffer = Buffer.alloc(size - start)
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, start)
  const text = buffer.subarray(0, bytesRead)
  const end = text.lastIndexOf(10) + 1
  const first = start > from ? text.indexOf(10) + 1 : 0
  const lines = text.subarray(first, end).toString().split('\n').slice(0, -1)
  return { lines, end: start + end, skipped: start + first - from }
}
