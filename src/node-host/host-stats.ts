import { statfs } from 'node:fs/promises'
import { availableParallelism, cpus, freemem, homedir, loadavg, totalmem } from 'node:os'

/** What a node says of its machine, every minute. */
export interface HostStats {
  cpuCount: number
  loadAverage?: [number, number, number]
  memoryTotalBytes: number
  memoryFreeBytes: number
  diskTotalBytes?: number
  diskAvailableBytes?: number
}

/** Measures this machine; what it cannot tell is left out. */
export async function hostStats(): Promise<HostStats> {
  const load = loadavg() as [number, number, number]
  const memoryTotalBytes = totalmem()
  return {
    cpuCount: Math.min(Math.max(cpus().length || availableParallelism(), 1), 4_096),
    // Where there is none, all three are zero.
    ...(load.some((each) => each > 0) ? { loadAverage: load.map(rounded) as [number, number, number] } : {}),
    memoryTotalBytes,
    memoryFreeBytes: Math.min(freemem(), memoryTotalBytes),
    ...(await disk())
  }
}

async function disk(): Promise<Pick<HostStats, 'diskTotalBytes' | 'diskAvailableBytes'>> {
  try {
    const { blocks, bavail, bsize } = await statfs(homedir())
    return { diskTotalBytes: blocks * bsize, diskAvailableBytes: Math.min(bavail, blocks) * bsize }
  } catch {
    return {}
  }
}

function rounded(value: number): number {
  return Math.round(Math.min(value, 100_000) * 100) / 100
}
