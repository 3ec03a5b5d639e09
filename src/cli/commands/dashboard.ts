import { Command } from 'commander'
import { openBrowser } from '../browser.ts'
import { type Dashboard, dashboardOf } from '../dashboard.ts'
import { parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printJson, styleOf } from '../output.ts'

const TIMEOUT_MS = 10_000

interface DashboardOptions extends Pick<TargetOptions, 'json' | 'timeout'> {
  open: boolean
}

/** `openclaw dashboard`: the Control UI, signed in by a link that works once. */
export function build(io: Io): Command {
  return new Command('dashboard')
    .description('Open the Control UI, signed in by a link that works once, for ten minutes')
    .option('--no-open', 'Print the link, open nothing')
    .option('--timeout <ms>', 'How long to wait, in milliseconds', String(TIMEOUT_MS))
    .option('--json', 'Print JSON, open nothing')
    .option('-y, --yes', 'Accepted for scripts; nothing here asks')
    .action((options: DashboardOptions) => dashboard(io, options))
}

async function dashboard(io: Io, options: DashboardOptions): Promise<void> {
  const link = await requestLink(io, options)
  if (options.json === true) return printJson(io, jsonOf(link))
  const style = styleOf(io)
  const opened = options.open && (await openBrowser(link.browserUrl, io.env))
  const minutes = Math.max(1, Math.round((link.expiresAtMs - Date.now()) / 60_000))
  if (opened) {
    io.stdout(`Opened the Control UI in your browser: ${link.httpUrl}`)
    io.stdout(style.dim('Nothing opened? "openclaw dashboard --no-open" prints a link.'))
    return
  }
  io.stdout(`${style.bold('Open this link')} (works once, within ${minutes} min):\n\n  ${link.browserUrl}\n`)
  if (!link.loopback || io.env.SSH_CONNECTION === undefined) return
  io.stdout(style.dim('From another machine, first run there:'))
  io.stdout(`  ssh -N -L ${link.port}:127.0.0.1:${link.port} ${io.env.USER ?? 'user'}@this-host`)
}

async function requestLink(io: Io, options: DashboardOptions): Promise<Dashboard> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const target = options.timeout === undefined ? {} : { timeout: options.timeout }
  try {
    return await withGateway(io, target, { scopes: ['operator.admin'], timeoutMs }, (connection) =>
      dashboardOf(io, connection, timeoutMs)
    )
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    // `reason` is where the reference puts it, and its integrations read it there.
    const { code, message, fix, type, exitCode, extra } = error
    throw new CliError(code, message, { fix, type, exitCode, cause: error, extra: { ...extra, reason: message } })
  }
}

function jsonOf(link: Dashboard): Record<string, unknown> {
  return {
    ok: true,
    url: link.httpUrl,
    browserUrl: link.browserUrl,
    browserBootstrapExpiresAtMs: link.expiresAtMs,
    httpUrl: link.httpUrl,
    wsUrl: link.wsUrl,
    port: link.port,
    // The shared token is never put into a URL.
    tokenIncluded: false
  }
}
