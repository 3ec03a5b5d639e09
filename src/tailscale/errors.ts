import type { Fix } from '../protocol/errors.ts'

/** `TAILSCALE_MISSING`: nothing there to ask. `TAILSCALE_FAILED`: it was asked, and its answer is of no use. */
export type TailscaleErrorCode = 'TAILSCALE_MISSING' | 'TAILSCALE_FAILED'

/** Why Tailscale could not be asked, or did not do what it was told, and the command that repairs it. */
export class TailscaleError extends Error {
  readonly code: TailscaleErrorCode
  readonly fix: Fix

  constructor(code: TailscaleErrorCode, message: string, options: { fix?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'TailscaleError'
    this.code = code
    this.fix = { command: options.fix ?? fixFor(message), where: 'gateway host' }
  }
}

/** How tailscale says that tailscaled does not run, and how we do. */
export const NOT_RUNNING = /failed to connect to local|is tailscale running|appear to be running|nothing listens/i

// What tailscale says, and what helps.
const fixes: readonly [RegExp, string][] = [
  [/not on PATH/, installCommand()],
  [NOT_RUNNING, startCommand()],
  [/access denied|operator/i, 'sudo tailscale set --operator=$USER'],
  [/NeedsLogin|Stopped|logged out|not logged in/i, 'tailscale up'],
  [/serve|funnel|listener|port/i, 'tailscale serve status']
]

function fixFor(message: string): string {
  return fixes.find(([pattern]) => pattern.test(message))?.[1] ?? 'tailscale status'
}

function installCommand(): string {
  return process.platform === 'darwin' ? 'brew install tailscale' : 'curl -fsSL https://tailscale.com/install.sh | sh'
}

function startCommand(): string {
  return process.platform === 'darwin' ? 'sudo brew services start tailscale' : 'sudo systemctl start tailscaled'
}

/** Text of another program as a log, a terminal and a page may show it: one line, bounded, no control characters (S25). */
export function printable(text: string, max = 300): string {
  const lines = text.split(/[\r\n]+/).map((line) => line.trim())
  const line = lines.filter((each) => each !== '').join(' | ')
  const bounded = line.length > max ? `…${line.slice(-max)}` : line
  return bounded.replaceAll(/\p{Cc}/gu, '?')
}
