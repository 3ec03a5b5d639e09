import { type Static, Type } from 'typebox'
import { checker } from '../protocol/validate.ts'

const bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const load = Type.Number({ minimum: 0, maximum: 100_000 })

/** How a node's machine fares, as the node tells it. */
const HostStats = Type.Object(
  {
    cpuCount: Type.Integer({ minimum: 1, maximum: 4_096 }),
    loadAverage: Type.Optional(Type.Tuple([load, load, load])),
    memoryTotalBytes: bytes,
    memoryFreeBytes: bytes,
    diskTotalBytes: Type.Optional(bytes),
    diskAvailableBytes: Type.Optional(bytes)
  },
  { additionalProperties: false }
)
export type HostStats = Static<typeof HostStats>

const check = checker(HostStats)

/** The stats that a payload holds; undefined where it makes no sense. */
export function hostStatsOf(payload: unknown): HostStats | undefined {
  if (check(payload) !== undefined) return undefined
  const stats = payload as HostStats
  const { memoryTotalBytes, memoryFreeBytes, diskTotalBytes, diskAvailableBytes } = stats
  if (memoryFreeBytes > memoryTotalBytes) return undefined
  if ((diskTotalBytes === undefined) !== (diskAvailableBytes === undefined)) return undefined
  return (diskAvailableBytes ?? 0) > (diskTotalBytes ?? 0) ? undefined : stats
}
