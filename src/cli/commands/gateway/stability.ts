import { Command } from 'commander'
import type { StabilityEvent, StabilitySnapshot } from '../../../rpc/stability.ts'
import type { StabilityBundle } from '../../../rpc/stability-bundle.ts'
import { addTargetOptions, parseTimeout, placesOf, type TargetOptions, withGateway } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { formatBytes, formatDuration, printJson, printRows, styleOf } from '../../output.ts'
import { type Column, formatMoment, tableLayout } from '../../table.ts'
import { wholeNumber } from '../../whole-number.ts'

const TIMEOUT_MS = 10_000
const MAX_EVENTS = 1_000

/** `openclaw gateway stability`: what happened to the gateway's process lately, or before it last ended badly. */
export function buildStability(io: Io): Command {
  const command = new Command('stability')
    .description('Show what happened to the process lately: stalls, memory, refused payloads, slow clients, reloads')
    .option('--limit <count>', `How many events, 1 to ${MAX_EVENTS}`, '25')
    .option('--type <type>', 'Only one type, such as payload.large')
    .option('--since-seq <seq>', 'Only events after this number')
    .option('--bundle [path]', 'What a process left behind that ended badly: a file, or the latest of this host')
    .addHelpText(
      'after',
      `
It knows codes, counts, sizes and times; no names, addresses or texts.

Examples:
  openclaw gateway stability
  openclaw gateway stability --type diagnostic.memory.pressure --json
  openclaw gateway stability --bundle`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((options: StabilityOptions) => stability(io, options))
}

interface StabilityOptions extends TargetOptions {
  limit: string
  type?: string
  sinceSeq?: string
  bundle?: string | true
}

async function stability(io: Io, options: StabilityOptions): Promise<void> {
  const { type, sinceSeq, bundle, json } = options
  const query = {
    limit: wholeNumber('--limit', options.limit, MAX_EVENTS),
    ...(type === undefined ? {} : { type }),
    ...(sinceSeq === undefined ? {} : { sinceSeq: wholeNumber('--since-seq', sinceSeq, undefined, 0) })
  }
  if (bundle !== undefined) return showBundle(io, bundle, query, json === true)
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const snapshot = await withGateway(io, options, { scopes: ['operator.read'], timeoutMs }, ({ client }) =>
    client.request<StabilitySnapshot>('diagnostics.stability', query, { timeoutMs })
  )
  if (json === true) return printJson(io, snapshot)
  show(io, snapshot)
}

interface Query {
  limit: number
  type?: string
  sinceSeq?: number
}

async function showBundle(io: Io, which: string | true, query: Query, json: boolean): Promise<void> {
  const { path, bundle } = await readBundle(io, which)
  const { limit, type, sinceSeq = 0 } = query
  const { snapshot } = bundle
  const wanted = snapshot.events.filter(({ seq, type: its }) => seq > sinceSeq && (type === undefined || its === type))
  const shown = { ...snapshot, count: wanted.length, events: wanted.slice(-limit) }
  if (json) return printJson(io, { path, bundle: { ...bundle, snapshot: shown } })
  const { process: ended, error } = bundle
  printRows(io, [
    ['Bundle', path],
    ['Ended', `${formatMoment(Date.parse(bundle.generatedAt))} (${bundle.reason})`],
    ['Process', `pid ${ended.pid}, Node ${ended.node}, after ${formatDuration(ended.uptimeMs)}`],
    ['Error', error && [error.name, error.code].filter(Boolean).join(' ')],
    ['At', error?.stack?.split('\n', 1)[0]?.trim() || undefined]
  ])
  show(io, shown)
}

async function readBundle(io: Io, which: string | true): Promise<{ path: string; bundle: StabilityBundle }> {
  const [{ listBundles }, { readFile, stat }] = await Promise.all([
    import('../../../rpc/stability-bundle.ts'),
    import('node:fs/promises')
  ])
  const { stateDir } = placesOf(io).paths
  const path = which === true || which === 'latest' ? listBundles(stateDir)[0] : which
  if (path === undefined) {
    throw new CliError('NO_BUNDLE', `there is no bundle in ${stateDir}: no gateway of it has ended badly`, {
      fix: 'openclaw gateway stability'
    })
  }
  try {
    if ((await stat(path)).size > MAX_BUNDLE_BYTES) throw new Error('it is too large')
    const bundle = JSON.parse(await readFile(path, 'utf8')) as StabilityBundle
    if (!isBundle(bundle)) throw new Error('it is of another form')
    return { path, bundle }
  } catch (cause) {
    throw new CliError('BAD_BUNDLE', `${path} is not a stability bundle: ${(cause as Error).message}`, { cause })
  }
}

// As far as it is shown.
function isBundle(value: Partial<StabilityBundle> | null): boolean {
  const { version, generatedAt = '', process: ended, snapshot } = value ?? {}
  const { events, summary } = snapshot ?? {}
  return (
    version === 1 &&
    !Number.isNaN(Date.parse(generatedAt)) &&
    typeof ended?.uptimeMs === 'number' &&
    typeof summary?.byType === 'object' &&
    Array.isArray(events) &&
    events.every((event) => typeof event?.ts === 'number' && typeof event.type === 'string')
  )
}

const MAX_BUNDLE_BYTES = 5 * 1024 * 1024

function show(io: Io, { count, capacity, dropped, events, summary }: StabilitySnapshot): void {
  const types = Object.entries(summary.byType).map(([type, times]) => `${type} ${times}`)
  printRows(io, [
    ['Events', `${count} of at most ${capacity}${dropped > 0 ? `; ${dropped} older ones are forgotten` : ''}`],
    ['Types', types.join(', ') || undefined]
  ])
  if (events.length === 0) return
  const { head, line } = tableLayout(io, columns(io), events)
  io.stdout(`\n${head}`)
  for (const event of events) io.stdout(line(event))
}

function columns(io: Io): Column<StabilityEvent>[] {
  const { red, yellow } = styleOf(io)
  return [
    { title: 'TIME', max: 19, text: ({ ts }) => formatMoment(ts) },
    { title: 'SEQ', max: 8, text: ({ seq }) => String(seq) },
    {
      title: 'TYPE',
      max: 32,
      text: ({ type }) => type,
      paint: ({ level }) => (level === 'critical' ? red : level ? yellow : String)
    },
    { title: 'WHAT', text: what }
  ]
}

function what({ seq: _seq, ts: _ts, type: _type, memory, count, ...facts }: StabilityEvent): string {
  const words = Object.entries(facts).map(([name, value]) => {
    if (typeof value === 'number' && name.endsWith('Bytes')) return `${name.slice(0, -5)} ${formatBytes(value)}`
    if (typeof value === 'number' && name.endsWith('Ms')) return `${name.slice(0, -2)} ${formatDuration(value)}`
    return typeof value === 'number' ? `${name} ${value}` : String(value)
  })
  if (memory !== undefined) words.push(`rss ${formatBytes(memory.rssBytes)}, heap ${formatBytes(memory.heapUsedBytes)}`)
  return [words.join(', '), count === undefined ? '' : `(${count} times)`].filter(Boolean).join(' ')
}
