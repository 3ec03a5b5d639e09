import { Command, Option } from 'commander'
import { addTargetOptions, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import type { ApproveOptions } from '../nodes/decide.ts'
import { type NodeOptions, TIMEOUT_MS } from '../nodes/inventory.ts'
import type { InvokeOptions, NotifyOptions } from '../nodes/invoke.ts'
import type { RemoveOptions, RenameOptions } from '../nodes/manage.ts'
import type { RunOptions } from '../nodes/run.ts'
import type { FilterOptions } from '../nodes/show.ts'

const NODE = 'The node, by its id, its name, its address, or the start of its id'
const TRANSPORT_MS = 30_000

/** `openclaw nodes`: the machines that are lent to a gateway, what they may do, and having it done. */
export function build(io: Io): Command {
  const command = new Command('nodes')
    .description('See the machines that are lent to the gateway, decide what they may do, and have it done')
    .usage('<command> [options]')
    .addHelpText(
      'after',
      `
A machine is let in as a device first ("openclaw devices"), and then asks for what it may be used for ("nodes pending").
A node is named by its id, its name, its address, or the start of its id (six characters or more).

Examples:
  openclaw nodes status --connected
  openclaw nodes pending
  openclaw nodes approve 3f2a9c1e
  openclaw nodes run --node kitchen -- uname -a
  openclaw nodes notify --node kitchen --title Build --body Done`
    )
  const add = (name: string, description: string): Command =>
    addTargetOptions(command.command(name).description(description), TIMEOUT_MS)
  const filtered = (name: string, description: string): Command =>
    add(name, description)
      .option('--connected', 'Only those that are connected')
      .option('--last-connected <duration>', 'Only those that connected within this time, such as 24h or 7d')
  const about = (name: string, description: string): Command =>
    add(name, description).argument('[node]', NODE).option('--node <node>', 'The same, as an option')

  filtered('list', 'Show who waits for approval, and every node').action(async (options: FilterOptions) =>
    (await import('../nodes/show.ts')).list(io, options)
  )
  filtered('status', 'Show how each node fares, and what it can do').action(async (options: FilterOptions) =>
    (await import('../nodes/show.ts')).status(io, options)
  )
  about('describe', 'Show one node: what is approved, what waits, and what approving it would grant').action(
    async (node: string | undefined, options: NodeOptions) =>
      (await import('../nodes/show.ts')).describe(io, node, options)
  )
  add('pending', 'Show what waits for approval, and what it would grant').action(async (options: TargetOptions) =>
    (await import('../nodes/decide.ts')).pending(io, options)
  )
  add('approve', 'Approve what a node asks for: the request you name, or the only one')
    .argument('[request]', 'The id of the request, or the start of it')
    .option('-y, --yes', 'Approve without asking, away from the gateway host')
    .action(async (request: string | undefined, options: ApproveOptions) =>
      (await import('../nodes/decide.ts')).approve(io, request, options)
    )
  add('reject', 'Refuse what a node asks for; what was approved before stays')
    .argument('<request>', 'The id of the request, or the start of it')
    .action(async (request: string, options: TargetOptions) =>
      (await import('../nodes/decide.ts')).reject(io, request, options)
    )
  add('rename', 'Give a node a name that you recognise')
    .argument('[words...]', 'The node, and its new name')
    .option('--node <node>', 'The node, as an option')
    .option('--name <name>', 'The new name, as an option')
    .action(async (words: string[], options: RenameOptions) =>
      (await import('../nodes/manage.ts')).rename(io, words, options)
    )
  about('remove', 'End a node, at once; the other roles of its device stay')
    .option('-y, --yes', 'Without asking')
    .action(async (node: string | undefined, options: RemoveOptions) =>
      (await import('../nodes/manage.ts')).remove(io, node, options)
    )
  const atNode = (name: string, description: string): Command =>
    addTargetOptions(command.command(name).description(description), TRANSPORT_MS)
      .option('--node <node>', `${NODE}; without it, the only one that can`)
      .option('--invoke-timeout <ms>', 'How long the node may take, in milliseconds', '15000')
  atNode('invoke', 'Have a node do something other than running programs')
    .option('--command <command>', 'What it is to do, such as system.which')
    .option('--params <json>', 'Its parameters, a JSON object', '{}')
    .option('--idempotency-key <key>', 'The same key does the same thing once')
    .addHelpText(
      'after',
      `
What a node may be asked for is listed by "openclaw nodes describe". Programs are run by "openclaw nodes run".

Examples:
  openclaw nodes invoke --node kitchen --command system.which --params '{"bins":["git","node"]}'
  openclaw nodes invoke --node phone --command location.get --invoke-timeout 30000`
    )
    .action(async (options: InvokeOptions) => (await import('../nodes/invoke.ts')).invoke(io, options))
  atNode('notify', 'Show a notification on a node')
    .option('--title <text>', 'Its title')
    .option('--body <text>', 'Its text')
    .option('--sound <name>', 'The sound it makes')
    .addOption(new Option('--priority <priority>', 'How urgent it is').choices(['passive', 'active', 'timeSensitive']))
    .addOption(new Option('--delivery <delivery>', 'How it is shown').choices(['system', 'overlay', 'auto']))
    .action(async (options: NotifyOptions) => (await import('../nodes/invoke.ts')).notify(io, options))
  buildRun(command, io)
  return command
}

function buildRun(command: Command, io: Io): void {
  const run = command
    .command('run')
    .description('Run a program on a node, as if it were here')
    .usage('[options] -- PROGRAM ARGUMENTS…')
  addTargetOptions(run, undefined)
    .argument('<argv...>', 'The program and its arguments, behind --')
    .option('--node <node>', `${NODE}; without it, the only one that can`)
    .option('--cwd <folder>', 'Where it runs, on the node')
    .option('--env <name=value>', 'Set a variable; may be repeated', (pair: string, before: string[] = []) => [
      ...before,
      pair
    ])
    .option('--timeout <duration>', 'How long it may take, such as 30s or 5m (default: as long as it takes)')
    .option('-i, --stdin', 'Send standard input to it')
    .addHelpText(
      'after',
      `
What it writes appears as it comes, and its exit code is that of this command. Ctrl-C ends it on the node, with all that
it started; a second Ctrl-C leaves at once. Where the node's policy wants a person to allow it, this command says how,
and waits. The arguments are no shell line: for one, run a shell.

Exit codes of this command's own:
  124  it took longer than --timeout      127  the node has no such program
  125  nobody answered whether it may     128  and a signal's number: it was ended by that signal
  126  it may not                         255  the gateway or the node could not be reached, or failed

Examples:
  openclaw nodes run --node kitchen -- uname -a
  openclaw nodes run --node build --cwd /srv/app --env CI=1 --timeout 10m -- npm test
  openclaw nodes run -- sh -c 'df -h | grep /srv'
  tar c site | openclaw nodes run --node web -i -- tar x -C /srv`
    )
    .action(async (argv: string[], options: RunOptions) => (await import('../nodes/run.ts')).run(io, argv, options))
}
