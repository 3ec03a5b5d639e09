import { isObject } from '../config/key-path.ts'
import { printable } from './errors.ts'

/** What the gateway asks of Tailscale: a route for the tailnet, or one for the internet. */
export type ExposureMode = 'serve' | 'funnel'

/** Arguments that claim the HTTPS root for `target` as long as the command runs; nothing outlives it. */
export function serveArgs(mode: ExposureMode, target: string): string[] {
  return [mode, '--yes', '--bg=false', target]
}

/** What the command prints once the route is claimed. */
export const READY = 'Press Ctrl+C to exit.'

/** The first version whose Serve takes `unix:` targets. */
const UNIX_TARGETS = [1, 94, 0]

/** Reports whether Serve of this version can reach a Unix socket; a version that cannot be read cannot. */
export function supportsUnixTarget(version: string): boolean {
  return compare(numbers(version), UNIX_TARGETS) >= 0
}

/** The older of two versions: the command and tailscaled need not be the same, and both must understand the target. */
export function olderVersion(a: string, b: string): string {
  return compare(numbers(a), numbers(b)) <= 0 ? a : b
}

function numbers(version: string): readonly number[] {
  const match = /^v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?/.exec(version)
  return match === null ? [0, 0, 0] : match.slice(1).map((part) => Number(part ?? 0))
}

function compare(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((part, index) => part !== b[index])
  return differs === -1 ? 0 : a[differs]! - b[differs]!
}

/** What already answers at the HTTPS root, from `serve status --json`; undefined for nothing, or nothing we understand. */
export function routeOwner(json: string): string | undefined {
  let status: unknown
  try {
    status = JSON.parse(json)
  } catch {
    return undefined
  }
  if (!isObject(status)) return undefined
  const foreground = isObject(status.Foreground) ? Object.values(status.Foreground) : []
  for (const config of [status, ...foreground]) {
    const owner = isObject(config) ? rootOf(config) : undefined
    if (owner !== undefined) return printable(owner.slice(0, 200))
  }
  return undefined
}

function rootOf({ TCP, Web }: Record<string, unknown>): string | undefined {
  const port = isObject(TCP) ? TCP['443'] : undefined
  if (isObject(port) && typeof port.TCPForward === 'string') return `tcp://${port.TCPForward}`
  for (const [host, site] of Object.entries(isObject(Web) ? Web : {})) {
    const handlers = isObject(site) && host.endsWith(':443') ? site.Handlers : undefined
    const root = isObject(handlers) ? handlers['/'] : undefined
    if (isObject(root)) return [root.Proxy, root.Path].find((each) => typeof each === 'string') ?? 'text'
  }
  return undefined
}
