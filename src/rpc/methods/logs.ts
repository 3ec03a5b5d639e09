import { open } from 'node:fs/promises'
import { Type } from 'typebox'
import { defineMethod, type Method } from '../method.ts'

const DEFAULT_LINES = 500
const DEFAULT_BYTES = 250_000

/** `logs.tail`: the gateway's own log, from a cursor on. */
export function logMethods({ file }: { file: string }): Method[] {
  return [
    defineMethod({
      name: 'logs.tail',
      scope: 'operator.read',
      params: Type.Object(
        {
          cursor: Type.Optional(Type.Integer({ minimum: 0 })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000 })),
          maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 }))
        },
        { additionalProperties: false }
      ),
      handler: (params) => tail(file, params)
    })
  ]
}

async function tail(
  file: string,
  { cursor, limit = DEFAULT_LINES, maxBytes = DEFAULT_BYTES }: { cursor?: number; limit?: number; maxBytes?: number }
): Promise<Record<string, unknown>> {
  const handle = await open(file, 'r').catch(() => undefined)
  if (handle === undefined) return { file, cursor: 0, size: 0, lines: [] }
  try {
    const { size } = await handle.stat()
    // A cursor beyond the end belongs to a file that was rotated away.
    const reset = cursor !== undefined && cursor > size
    const from = cursor === undefined || reset ? 0 : cursor
    const start = Math.max(from, size - maxBytes)
    const buffer = Buffer.alloc(size - start)
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, start)
    const text = buffer.subarray(0, bytesRead)
    // Whole lines only: the rest of the last one comes with the next call, the cut first one is dropped.
    const end = text.lastIndexOf(10) + 1
    const cut = start > from || (cursor === undefined && start > 0)
    const first = cut ? text.indexOf(10) + 1 : 0
    const lines = text.subarray(first, end).toString().split('\n').slice(0, -1)
    const truncated = cut || lines.length > limit
    return {
      file,
      cursor: start + end,
      size,
      lines: lines.slice(-limit),
      ...(truncated ? { truncated, skippedBytes: start + first - from } : {}),
      ...(reset ? { reset } : {})
    }
  } finally {
    await handle.close()
  }
}
