import { setTimeout as sleep } from 'node:timers/promises'
import { Command, Option } from 'commander'
import { EVENT_KINDS, EVENT_OUTCOMES } from '../../protocol/audit.ts'
import { addTargetOptions, parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { jsonText, printJson, styleOf } from '../output.ts'
import { type Column, formatMoment, tableLayout } from '../table.ts'
import { wholeNumber } from '../whole-number.ts'

const TIMEOUT_MS = 10_000
const POLL_MS = 2_000

/** `openclaw audit`: who came in, who was turned away, and who changed that. */
export function build(io: Io): Command {
  const command = new Command('audit')
    .description('Show who came in, who was turned away, and who changed that; the newest first')
    .option('--limit <count>', 'How many, 1 to 500', '100')
    .addOption(new Option('--outcome <outcome>', 'Only what ended so').choices(EVENT_OUTCOMES))
    .addOption(new Option('--kind <kind>', 'Only one kind').choices(EVENT_KINDS))
    .option('--who <text>', 'Only where this is a part of who it was')
    .option('--address <address>', 'Only from this address')
    .option('--before <id>', 'Only what is older than this event, to page on')
    .option('--follow', 'Stay, and print what happens; the newest last')
    .addHelpText(
      'after',
      `
Examples:
  openclaw audit --outcome denied --limit 20
  openclaw audit --follow --json`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((options: AuditOptions) => audit(io, options))
}

interface AuditOptions extends TargetOptions {
  limit: string
  outcome?: string
  kind?: string
  who?: string
  address?: string
  before?: string
  follow?: boolean
}

interface AuditEvent {
  id: number
  ts: number
  kind: string
  outcome: string
  reason?: string
  method?: string
  who?: string
  address: string
  detail?: string
  count: number
}

interface Page {
  events: AuditEvent[]
  nextBefore?: number
}

type Query = Record<string, string | number>
type Ask = (query: Query) => Promise<Page>

async function audit(io: Io, options: AuditOptions): Promise<void> {
  const limit = wholeNumber('--limit', options.limit, 500)
  const before = options.before === undefined ? {} : { before: wholeNumber('--before', options.before) }
  const { outcome, kind, who, address, follow, json } = options
  if (follow === true && options.before !== undefined) {
    throw new CliError('USAGE', '--follow and --before exclude each other', { fix: 'openclaw audit --follow' })
  }
  const given = Object.entries({ outcome, kind, who, address }).filter((each) => each[1] !== undefined)
  const filter = Object.fromEntries(given) as Query
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  // Whoever follows waits on purpose: a line about waiting would run into the events.
  const calm = follow === true ? { ...io, isTTY: false } : io
  await withGateway(calm, options, { scopes: ['operator.admin'], timeoutMs }, async ({ client }) => {
    const ask: Ask = (query) => client.request('gateway.audit.list', { ...filter, ...query }, { timeoutMs })
    const page = await ask({ limit, ...before })
    if (follow === true) await keepPrinting(io, json === true, page.events.reverse(), ask)
    else if (json === true) printJson(io, page)
    else show(io, page)
  })
}

function show(io: Io, { events, nextBefore }: Page): void {
  const { head, line } = tableLayout(io, columns(io), events)
  io.stdout(events.length === 0 ? 'Nothing of this is recorded.' : head)
  for (const event of events) io.stdout(line(event))
  if (nextBefore !== undefined) io.stdout(styleOf(io).dim(`Older: --before ${nextBefore}`))
}

/** Prints events, and then each new one as it comes, until nobody reads any more. */
async function keepPrinting(io: Io, json: boolean, known: AuditEvent[], ask: Ask): Promise<void> {
  const left = new AbortController()
  process.stdout.once('close', () => left.abort())
  const { head, line } = tableLayout(io, columns(io))
  if (!json) io.stdout(head)
  let last = 0
  for (let events = known; !left.signal.aborted; events = await since(last, ask)) {
    for (const event of events) io.stdout(json ? jsonText(event) : line(event))
    last = events.at(-1)?.id ?? last
    await sleep(POLL_MS, undefined, { signal: left.signal }).catch(() => {})
  }
}

/** Everything newer than an event, the oldest first. */
async function since(after: number, ask: Ask): Promise<AuditEvent[]> {
  const found: AuditEvent[] = []
  let before: number | undefined
  do {
    const page = await ask({ after, limit: 500, ...(before === undefined ? {} : { before }) })
    found.push(...page.events)
    before = page.nextBefore
  } while (before !== undefined)
  return found.reverse()
}

function columns(io: Io): Column<AuditEvent>[] {
  const style = styleOf(io)
  const paints: Record<string, (text: string) => string> = {
    allowed: style.green,
    denied: style.red,
    changed: style.yellow
  }
  return [
    { title: 'TIME', max: 19, text: ({ ts }) => formatMoment(ts) },
    { title: 'OUTCOME', max: 7, text: ({ outcome }) => outcome, paint: ({ outcome }) => paints[outcome] ?? String },
    { title: 'WHAT', max: 16, text: ({ kind }) => kind },
    { title: 'WHO', max: 16, text: ({ who }) => who ?? '-' },
    { title: 'FROM', max: 15, text: ({ address }) => address },
    { title: 'METHOD', max: 13, text: ({ method }) => method ?? '-' },
    {
      title: 'WHY',
      text: ({ reason, detail, count }) =>
        [reason, detail, count > 1 ? `(${count} times)` : ''].filter(Boolean).join(' ')
    }
  ]
}
