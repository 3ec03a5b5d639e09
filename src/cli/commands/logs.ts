import { Command, Option } from 'commander'
import { addTargetOptions, parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { LEVELS } from '../logs/line.ts'
import { LogPrinter } from '../logs/printer.ts'
import { type Ask, logOfThisHost } from '../logs/source.ts'
import { wholeNumber } from '../whole-number.ts'

const TIMEOUT_MS = 30_000
const MAX_LINES = 5_000

/** `openclaw logs`: the gateway's log, from the gateway, or from its file on the same host while it is stopped. */
export function build(io: Io): Command {
  const command = new Command('logs')
    .description("Show the gateway's log; on its host also while it is stopped")
    .option('--follow', 'Stay, and print what comes; also over a restart of the gateway')
    .option('--limit <lines>', `How many lines, 1 to ${MAX_LINES}`, '200')
    .option('--max-bytes <bytes>', 'How much of the log to look at, up to 1000000', '250000')
    .option('--interval <ms>', 'How often to look for more, in milliseconds', '1000')
    .addOption(new Option('--level <level>', 'Only lines of this level and above').choices(LEVELS))
    .option('--plain', 'No colour')
    .option('--local-time', 'Times of this host (the default)')
    .option('--utc', 'Times in UTC')
    .addHelpText(
      'after',
      `
Examples:
  openclaw logs --follow
  openclaw logs --level warn --limit 50
  openclaw logs --json | jq -r 'select(.type == "log") | .message'`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((options: LogsOptions) => logs(io, options))
}

interface LogsOptions extends TargetOptions {
  follow?: boolean
  limit: string
  maxBytes: string
  interval: string
  level?: string
  plain?: boolean
  utc?: boolean
}

async function logs(io: Io, options: LogsOptions): Promise<void> {
  const limit = wholeNumber('--limit', options.limit, MAX_LINES)
  const maxBytes = wholeNumber('--max-bytes', options.maxBytes, 1_000_000)
  const intervalMs = wholeNumber('--interval', options.interval, 60_000, 100)
  const { level, utc = false, json = false, plain = false, follow = false } = options
  const printer = new LogPrinter(plain ? { ...io, color: false } : io, { json, utc, level, limit })
  // Of which level lines are is known only here.
  const first = { limit: level === undefined ? limit : MAX_LINES, maxBytes }
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const left = new AbortController()
  const through = (silent: boolean, work: (ask: Ask) => Promise<void>) =>
    withGateway(io, options, { scopes: ['operator.read'], timeoutMs, silent }, ({ client }) =>
      work((query) => client.request('logs.tail', query, { timeoutMs, signal: left.signal }))
    )
  const show = async (ask: Ask, offline = false) => printer.print(await ask(first), offline)
  const following = { printer, intervalMs, left: left.signal }
  try {
    if (!follow) return await through(false, show)
    const { keepConnected, poll } = await import('../logs/follow.ts')
    await keepConnected(following, (connected) =>
      through(true, async (ask) => {
        connected()
        if (printer.cursor === undefined) {
          await show(ask)
          await endOnSignal(left)
        }
        await poll(ask, following, false)
      })
    )
  } catch (error) {
    const ask = printer.cursor === undefined ? await logOfThisHost(io, options, error) : undefined
    if (ask === undefined) throw error
    printer.notice('no gateway answers here; this is its file')
    await show(ask, true)
    if (!follow) return
    await endOnSignal(left)
    await (await import('../logs/follow.ts')).poll(ask, following, true)
  }
}

// From the first line on: before that, a signal ends the process as it always does.
async function endOnSignal(left: AbortController): Promise<void> {
  process.stdout.once('close', () => left.abort())
  const { stopSignal } = await import('../stop-signal.ts')
  void stopSignal().then(() => left.abort())
}
