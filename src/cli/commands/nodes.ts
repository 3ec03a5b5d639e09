import { Command } from 'commander'
import { addTargetOptions, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { approve, reject, remove, rename } from '../nodes/decide.ts'
import { TIMEOUT_MS } from '../nodes/inventory.ts'
import { INVOKE_MS, type InvokeOptions, invoke, type NotifyOptions, notify } from '../nodes/invoke.ts'
import type { RunOptions } from '../nodes/run.ts'
import { describe, list, pending, type ShowOptions, status } from '../nodes/show.ts'

const NODE = ['--node <node>', 'A node, by its id, name, address, or the start of its id'] as const

/** `openclaw nodes`: the machines that lend their hands to a gateway. */
export function build(io: Io): Command {
  const command = new Command('nodes')
    .description('See the nodes of a gateway, say what they may do, and have them do it')
    .usage('<command> [options]')
    .addHelpText(
      'after',
      `
A node is let in as a device ("openclaw devices"); what it may then be asked for is approved here.

Examples:
  openclaw nodes status --connected
  openclaw nodes pending
  openclaw nodes approve REQUEST
  openclaw nodes run --node kitchen -- uname -a
  openclaw nodes invoke --node kitchen --command system.which --params '{ bins: ["uname"] }'`
    )
  const atGateway = (name: string, description: string): Command =>
    addTargetOptions(command.command(name).description(description), TIMEOUT_MS)
  const filtered = (name: string, description: string): Command =>
    atGateway(name, description)
      .option('--connected', 'Only those that are connected')
      .option('--last-connected <duration>', 'Only those that connected within 24h, 7d, …')

  filtered('status', 'Show every node, and how its machine fares').action((options: ShowOptions) => status(io, options))
  filtered('list', 'Show what waits for approval, and the nodes').action((options: ShowOptions) => list(io, options))
  atGateway('describe', 'Show everything that is known of a node')
    .requiredOption(...NODE)
    .action((options: TargetOptions & { node: string }) => describe(io, options))
  atGateway('pending', 'Show what nodes would like to be allowed').action((options: TargetOptions) =>
    pending(io, options)
  )
  atGateway('approve', 'Allow what a node asks for')
    .argument('<request>', 'The id of its request, or the start of it')
    .action((id: string, options: TargetOptions) => approve(io, id, options))
  atGateway('reject', 'Turn down what a node asks for')
    .argument('<request>', 'The id of its request, or the start of it')
    .action((id: string, options: TargetOptions) => reject(io, id, options))
  atGateway('rename', 'Give a node a name')
    .requiredOption(...NODE)
    .requiredOption('--name <name>', 'What to call it')
    .action((options: TargetOptions & { node: string; name: string }) => rename(io, options))
  atGateway('remove', 'Disconnect a node, and forget what it was allowed')
    .requiredOption(...NODE)
    .option('-y, --yes', 'Do not ask')
    .action((options: TargetOptions & { node: string; yes?: boolean }) => remove(io, options))
  atGateway('invoke', 'Have a node do one thing')
    .option(...NODE)
    .requiredOption('--command <command>', 'Which: system.which, location.get, …')
    .option('--params <json5>', 'Its parameters, a JSON5 object', '{}')
    .option('--invoke-timeout <ms>', 'How long the node has, in milliseconds', String(INVOKE_MS))
    .option('--idempotency-key <key>', 'The same key gives the same answer, and runs once')
    .action((options: InvokeOptions) => invoke(io, options))
  atGateway('notify', 'Show a notification on a node')
    .option(...NODE)
    .option('--title <text>', 'Its title')
    .option('--body <text>', 'Its text')
    .option('--sound <name>', 'A sound that the node knows')
    .option('--priority <priority>', 'passive, active or timeSensitive')
    .option('--delivery <delivery>', 'system, overlay or auto', 'system')
    .option('--invoke-timeout <ms>', 'How long the node has, in milliseconds', String(INVOKE_MS))
    .action((options: NotifyOptions) => notify(io, options))
  atGateway('run', 'Run a program on a node, as if it ran here')
    .option(...NODE)
    .option('--cwd <folder>', 'Where on the node')
    .option('--env <name=value>', 'A variable; may be repeated', (text: string, all: string[] = []) => [...all, text])
    .option('--run-timeout <duration>', 'End it after 30s, 5m, …')
    .option('-i, --stdin', 'Give it what comes on standard input')
    .argument('<command...>', 'The program and its arguments, after --')
    .addHelpText(
      'after',
      `
Output comes as the program prints it, and its exit code is this command's. Ctrl-C ends the program there, with
everything that it started. 124: it took too long; 125: it did not run.
Without --node, the only connected node that runs programs is meant. Where the node's policy asks a person, this waits
for "openclaw approvals approve".

Examples:
  openclaw nodes run --node kitchen -- sh -c 'for i in 1 2 3; do echo $i; sleep 1; done'
  tar c src | openclaw nodes run --node builder -i -- tar x -C /tmp`
    )
    .action(async (words: string[], options: RunOptions) => {
      const { run } = await import('../nodes/run.ts')
      await run(io, words, options)
    })
  return command
}
