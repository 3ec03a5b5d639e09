import { Command } from 'commander'
import type { Connection } from '../../client/connect.ts'
import { SCOPES } from '../../protocol/scopes.ts'
import { parseExpiry } from '../expiry.ts'
import { addTargetOptions, parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { loopbackUrl, type Status } from '../health.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printable, printJson, styleOf } from '../output.ts'
import { collect, parseScopes, shortScope } from '../scope-words.ts'
import { formatMoment, tableLayout } from '../table.ts'

const TIMEOUT_MS = 10_000
const EXAMPLE = 'openclaw tokens create --name grafana --scopes operator.read --expires 90d'

/** `openclaw tokens`: credentials with a name, a scope and an end, for programs that call the gateway. */
export function build(io: Io): Command {
  const command = new Command('tokens')
    .description('Make, list and revoke named tokens: credentials for programs that call the gateway')
    .usage('<command> [options]')
  const create = command
    .command('create')
    .description('Make a token and print it, this once')
    .option('--name <name>', 'What it is for; unique among live tokens')
    .option('--scopes <scopes>', 'What it may do, such as operator.read or read,write; may be repeated', collect)
    .option('--expires <when>', '90m, 12h, 30d, 1y, or a date such as 2030-01-31; default: never')
    .option('--cidr <net>', 'A network it may be used from, such as 10.0.0.0/8; may be repeated', collect)
    .addHelpText(
      'after',
      `
Scopes: ${SCOPES.map(shortScope).join(', ')}

Examples:
  ${EXAMPLE}
  openclaw tokens create --name ci --scopes read,write --cidr 10.0.0.0/8`
    )
  addTargetOptions(create, TIMEOUT_MS).action((options: CreateOptions) => createToken(io, options))
  addTargetOptions(
    command.command('list').description('List tokens: what each may do, until when, and its last use'),
    TIMEOUT_MS
  ).action((options: TargetOptions) => listTokens(io, options))
  addTargetOptions(
    command
      .command('revoke')
      .description('End a token at once, and its connections with it')
      .argument('<name>', 'name or id'),
    TIMEOUT_MS
  ).action((which: string, options: TargetOptions) => revokeToken(io, which, options))
  return command
}

interface CreateOptions extends TargetOptions {
  name?: string
  scopes?: string[]
  expires?: string
  cidr?: string[]
}

interface Created {
  token: string
  name: string
  scopes: string[]
  cidrs: string[]
  expiresAtMs?: number
}

interface Listed extends Omit<Created, 'token'> {
  id: string
  state: 'live' | 'expired' | 'revoked'
  connected: boolean
  lastUsedAtMs?: number
  lastUsedFrom?: string
}

async function createToken(io: Io, options: CreateOptions): Promise<void> {
  const { name, scopes, expires, cidr } = options
  if (name === undefined) throw new CliError('USAGE', '--name is missing: what is the token for?', { fix: EXAMPLE })
  if (scopes === undefined) throw new CliError('USAGE', '--scopes is missing: what may it do?', { fix: EXAMPLE })
  const params = {
    name,
    scopes: await parseScopes(scopes),
    ...(expires === undefined ? {} : parseExpiry(expires)),
    ...(cidr === undefined ? {} : { cidrs: cidr })
  }
  const { made, base } = await asAdmin(io, options, async (connection, timeoutMs) => {
    // Asked for first: once the token is made, nothing may come between it and its reader.
    const base = await baseUrl(connection, timeoutMs)
    const made = await connection.client.request<Created>('gateway.tokens.create', params, { timeoutMs })
    return { made, base }
  })
  if (options.json === true) return printJson(io, made)
  const style = styleOf(io)
  const end = made.expiresAtMs === undefined ? 'it never expires' : `it expires ${formatMoment(made.expiresAtMs)}`
  io.stdout(`${style.bold(printable(made.name))} may ${made.scopes.map(shortScope).join(', ')}; ${end}.`)
  if (made.cidrs.length > 0) io.stdout(`It works from ${made.cidrs.join(', ')} only.`)
  io.stdout(`\n  ${made.token}\n`)
  io.stdout('It is shown this once; keep it now. A program shows it like this:')
  if (made.scopes.some((scope) => READERS.has(scope))) {
    io.stdout(`  curl -H "Authorization: Bearer TOKEN" ${base.replace(/^ws/, 'http')}/metrics`)
  }
  io.stdout(`  openclaw health --url ${base} --token TOKEN`)
}

/** The scopes that open `/metrics`. */
const READERS: ReadonlySet<string> = new Set(['operator.admin', 'operator.read', 'operator.write'])

async function listTokens(io: Io, options: TargetOptions): Promise<void> {
  const { tokens } = await asAdmin(io, options, ({ client }, timeoutMs) =>
    client.request<{ tokens: Listed[] }>('gateway.tokens.list', {}, { timeoutMs })
  )
  if (options.json === true) return printJson(io, { tokens })
  if (tokens.length === 0) return io.stdout(`There are no tokens. Make one: ${EXAMPLE}`)
  const style = styleOf(io)
  const paints = { live: style.green, expired: style.yellow, revoked: style.dim }
  const rows = [...tokens.filter(({ state }) => state === 'live'), ...tokens.filter(({ state }) => state !== 'live')]
  // Together no wider than 80 columns.
  const { head, line } = tableLayout<Listed>(
    io,
    [
      { title: 'NAME', max: 18, text: ({ name }) => name },
      { title: 'STATE', max: 7, text: ({ state }) => state, paint: ({ state }) => paints[state] },
      { title: 'SCOPES', max: 16, text: ({ scopes }) => scopes.map(shortScope).join(',') },
      {
        title: 'EXPIRES',
        max: 10,
        text: ({ expiresAtMs }) => (expiresAtMs === undefined ? 'never' : formatMoment(expiresAtMs).slice(0, 10))
      },
      { title: 'LAST USED', max: 21, text: lastUse }
    ],
    rows
  )
  io.stdout(head)
  for (const row of rows) {
    io.stdout(line(row))
    for (const cidr of row.cidrs) io.stdout(style.dim(`  only from ${printable(cidr)}`))
  }
}

async function revokeToken(io: Io, which: string, options: TargetOptions): Promise<void> {
  const params = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(which) ? { id: which } : { name: which }
  const revoked = await asAdmin(io, options, ({ client }, timeoutMs) =>
    client.request<{ name: string }>('gateway.tokens.revoke', params, { timeoutMs })
  )
  if (options.json === true) printJson(io, revoked)
  else io.stdout(`Revoked ${printable(revoked.name)}; its connections are closed.`)
}

function asAdmin<T>(
  io: Io,
  options: TargetOptions,
  work: (connection: Connection, timeoutMs: number) => Promise<T>
): Promise<T> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  return withGateway(io, options, { scopes: ['operator.admin'], timeoutMs }, (connection) =>
    work(connection, timeoutMs)
  )
}

// Where this gateway is reached from here; on the owner's socket only the gateway knows its port.
async function baseUrl({ client, endpoint }: Connection, timeoutMs: number): Promise<string> {
  if (endpoint.kind === 'url') return endpoint.url.href.replace(/\/$/, '')
  const status = await client.request<Status>('status', {}, { timeoutMs })
  return loopbackUrl(status, 18789)
}

function lastUse({ connected, lastUsedAtMs, lastUsedFrom = '' }: Listed): string {
  if (connected) return `connected ${lastUsedFrom}`.trimEnd()
  if (lastUsedAtMs === undefined) return 'never'
  const [age] = formatDuration(Math.max(1_000, Date.now() - lastUsedAtMs)).split(' ')
  return `${age} ago ${lastUsedFrom}`.trimEnd()
}
