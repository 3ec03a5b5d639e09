import { Command } from 'commander'
import { CliError, type Io } from '../io.ts'
import { addSetupFlags, parseSetupFlags, type SetupFlags, type SetupWords } from '../setup/flags.ts'
import { openPrompts, type Prompts } from '../setup/prompts.ts'
import { reportOutcome } from '../setup/report.ts'

/** `openclaw setup`: the first run, by questions or by options, up to a gateway that answers. */
export function build(io: Io): Command {
  const command = new Command('setup')
    .description('Set up the gateway of this host, or point this host at one elsewhere')
    .addHelpText(
      'after',
      `
In a terminal it asks for what no option says. A gateway elsewhere is connected to before anything is written; what is in
the configuration already, and no answer or option names, stays as it is.

Examples:
  openclaw setup
  openclaw setup --remote ssh://me@gateway-host
  openclaw setup --remote wss://gateway-host --tls-fingerprint sha256:… --token-file ./token
  openclaw setup --non-interactive --gateway-bind lan --start --json`
    )
  return addSetupFlags(command).action((words: SetupWords) => setup(io, words))
}

async function setup(io: Io, words: SetupWords): Promise<void> {
  const flags = parseSetupFlags(words)
  const quiet = words.json === true || words.nonInteractive === true
  const ask = quiet || !isTerminal(io) ? undefined : await openPrompts(io, 'OpenClaw Gateway')
  const mode = flags.mode ?? (ask === undefined ? modeAlone(words) : await askMode(ask))
  const { outcome, end } = await run(io, { ...flags, mode }, ask)
  end()
  reportOutcome(io, outcome, words.json === true)
}

async function run(io: Io, flags: SetupFlags, ask: Prompts | undefined) {
  const outcome =
    flags.mode === 'remote'
      ? await (await import('../setup/remote.ts')).setUpRemote(io, flags, ask)
      : await (await import('../setup/local.ts')).setUpLocal(io, flags, ask)
  return { outcome, end: () => ask?.end('Done') }
}

function isTerminal(io: Io): boolean {
  return io.isTTY && process.stdin.isTTY === true
}

function askMode(ask: Prompts): Promise<'local' | 'remote'> {
  return ask.choose('Where does the gateway run?', [
    { value: 'local', label: 'On this host' },
    { value: 'remote', label: 'On another host', hint: 'reached by SSH, TLS, or a setup code' }
  ])
}

// A script that says nothing else means this host; without that word, nobody is known to have meant anything.
function modeAlone({ nonInteractive }: SetupWords): 'local' {
  if (nonInteractive === true) return 'local'
  throw new CliError('NOT_A_TERMINAL', 'there is no terminal to ask at, and the options do not say what to set up', {
    fix: 'openclaw setup --mode local [--gateway-port --gateway-bind --gateway-auth --token-file --tailscale --start], or: openclaw setup --remote ADDRESS [--token-file --password-file --tls-fingerprint --ssh-identity --remote-port]'
  })
}
