import { Command } from 'commander'
import type { Connection } from '../../client/connect.ts'
import { openBrowser } from '../browser.ts'
import { atPort, type Dashboard, dashboardOf } from '../dashboard.ts'
import { parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson, styleOf } from '../output.ts'

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
    .addHelpText(
      'after',
      `
For a gateway behind SSH the command opens a tunnel, unless one is up, and keeps it until Ctrl-C.

Examples:
  openclaw dashboard
  openclaw dashboard --no-open`
    )
    .action((options: DashboardOptions) => dashboard(io, options))
}

async function dashboard(io: Io, options: DashboardOptions): Promise<void> {
  const { link, tls } = await requestLink(io, options)
  if (link.route === undefined) return show(io, options, link, tls)
  const { holdTunnel } = await import('../dashboard-tunnel.ts')
  await holdTunnel(io, link.route, link.port, async (port) => {
    await show(io, options, atPort(link, port), tls)
    if (options.json !== true) io.stdout('It leads through an SSH tunnel, which stays open until Ctrl-C.')
  })
}

async function show(io: Io, options: DashboardOptions, link: Dashboard, tls: Connection['tls']): Promise<void> {
  const { pageProblem, plaintextWarning } = await import('../dashboard-page.ts')
  const warnings = [plaintextWarning(link.httpUrl, link.loopback), await pageProblem(link.httpUrl, tls)].filter(
    (warning) => warning !== undefined
  )
  if (options.json === true) return printJson(io, { ...jsonOf(link), warnings })
  const style = styleOf(io)
  for (const warning of warnings) io.stderr(`${style.yellow('warning:')} ${printable(warning)}`)
  const opened = options.open && (await openBrowser(link.browserUrl, io.env))
  if (opened) {
    io.stdout(`Opened the Control UI in your browser: ${link.httpUrl}`)
    if (link.expiresAtMs === undefined) io.stdout(NO_LINK)
    io.stdout(style.dim('Nothing opened? "openclaw dashboard --no-open" prints a link.'))
    return
  }
  io.stdout(`${style.bold('Open this link')} (${worksFor(link)}):\n\n  ${link.browserUrl}\n`)
  if (link.expiresAtMs === undefined) io.stdout(NO_LINK)
  if (!link.loopback || io.env.SSH_CONNECTION === undefined) return
  io.stdout(style.dim('From another machine, first run there:'))
  io.stdout(`  ssh -N -L ${link.port}:127.0.0.1:${link.port} ${io.env.USER ?? 'user'}@this-host`)
}

const NO_LINK = 'This gateway makes no links that sign in: the page asks for its token.'

function worksFor({ expiresAtMs }: Dashboard): string {
  if (expiresAtMs === undefined) return 'without a credential'
  return `works once, within ${Math.max(1, Math.round((expiresAtMs - Date.now()) / 60_000))} min`
}

async function requestLink(io: Io, options: DashboardOptions): Promise<{ link: Dashboard; tls: Connection['tls'] }> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const target = options.timeout === undefined ? {} : { timeout: options.timeout }
  try {
    return await withGateway(io, target, { scopes: ['operator.admin'], timeoutMs }, async (connection) => ({
      link: await dashboardOf(io, connection, timeoutMs),
      tls: connection.tls
    }))
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
