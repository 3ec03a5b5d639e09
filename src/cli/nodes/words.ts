import type { HostStats } from '../../client/node-entry.ts'
import { approvalScopes } from '../../nodes/policy.ts'
import { formatBytes } from '../output.ts'
import { shortScope } from '../scope-words.ts'
import { ago } from './inventory.ts'

/** What it means to a node's owner that it does what begins so. The longest beginning counts. */
const MEANINGS: Readonly<Record<string, string>> = {
  'system.run': 'run programs on it',
  'system.which': 'see which programs it has',
  'system.notify': 'show notifications on it',
  'system.execApprovals.get': 'read which programs it lets run',
  'system.execApprovals.set': 'change which programs it lets run',
  'fs.': 'look into its folders',
  'terminal.': 'put files on it',
  'browser.': 'use its browser',
  'mcp.': 'use its MCP tools',
  'camera.': 'use its camera',
  'screen.': 'see its screen',
  'desktop.': 'see its screen',
  'computer.': 'use its mouse and keyboard',
  'mobile.ui.': 'use its touch screen',
  'canvas.': 'show pages on it',
  'location.': 'know where it is',
  'device.': 'know its state',
  'contacts.': 'use its contacts',
  'calendar.': 'use its calendar',
  'reminders.': 'use its reminders',
  'photos.': 'see its photos',
  'notifications.': 'use its notifications',
  'callLog.': 'read its call log',
  'sms.': 'use its text messages',
  'motion.': 'know how it moves',
  'health.': 'read its health data',
  'talk.': 'listen and talk on it'
}
const BEGINNINGS = Object.keys(MEANINGS).sort((a, b) => b.length - a.length)

/** What commands come to, in words; one that nobody has words for is named. */
export function meaningOf(commands: readonly string[]): string {
  const words = commands.map((name) => {
    const beginning = BEGINNINGS.find((each) => name.startsWith(each))
    return beginning === undefined ? name : MEANINGS[beginning]!
  })
  return [...new Set(words)].join(', ') || 'nothing'
}

/** The scopes that approving commands takes, as people write them; the strongest alone, which contains the others. */
export function approvalTakes(commands: readonly string[]): string {
  return shortScope(approvalScopes(commands).at(-1)!)
}

/** Permissions as a list: those that are granted, and those that are not. */
export function permissionsOf(permissions: Readonly<Record<string, boolean>> = {}): string | undefined {
  const words = Object.entries(permissions).map(([name, granted]) => (granted ? name : `not ${name}`))
  return words.length === 0 ? undefined : words.join(', ')
}

/** How a node's machine fares: load, memory and disk; from when it is, where that was not just now. */
export function statsOf(stats: HostStats | undefined, connected: boolean | undefined): string | undefined {
  if (stats === undefined) return undefined
  const { loadAverage, cpuCount, memoryTotalBytes, memoryFreeBytes, diskAvailableBytes, updatedAtMs } = stats
  const parts = [
    loadAverage === undefined || cpuCount === undefined ? undefined : `load ${loadAverage[0].toFixed(1)}/${cpuCount}`,
    memoryTotalBytes === undefined || memoryFreeBytes === undefined
      ? undefined
      : `mem ${size(memoryTotalBytes - memoryFreeBytes)} of ${size(memoryTotalBytes)}`,
    diskAvailableBytes === undefined ? undefined : `disk ${size(diskAvailableBytes)} free`
  ]
  const age = connected === true || updatedAtMs === undefined ? '' : ` (last known ${ago(updatedAtMs)})`
  return parts.filter((part) => part !== undefined).join(' · ') + age
}

function size(bytes: number): string {
  const gb = bytes / 1024 ** 3
  if (gb < 1) return formatBytes(bytes)
  return gb < 1024 ? `${gb.toFixed(gb < 10 ? 1 : 0)} GB` : `${(gb / 1024).toFixed(1)} TB`
}
