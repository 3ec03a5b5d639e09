import { type Command, CommanderError } from 'commander'
import type { CommandEntry } from './commands.ts'
import { CliError, type Io } from './io.ts'
import { styleOf } from './output.ts'

/** Loads one command, gives it the manners that all commands share, and runs it. */
export async function runCommand(io: Io, entry: CommandEntry, args: readonly string[]): Promise<void> {
  const command = (await entry.load()).build(io)
  adopt(command, 'openclaw', io)
  try {
    await command.parseAsync(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return
    throw await usageError(command, args, error)
  }
}

/** Commander prints nothing but help and ends no process; usage lines name the whole command. */
function adopt(command: Command, parent: string, io: Io): void {
  const path = `${parent} ${command.name()}`
  paths.set(command, path)
  const style = styleOf(io)
  command.exitOverride()
  command.showSuggestionAfterError(true)
  command.helpCommand(false)
  command.configureOutput({
    writeOut: (text) => io.stdout(text.trimEnd()),
    writeErr: (text) => io.stderr(text.trimEnd()),
    outputError: () => {},
    getOutHasColors: () => io.color
  })
  command.configureHelp({
    sortOptions: true,
    styleTitle: (text) => style.bold(text),
    commandUsage: (shown) => `${paths.get(shown) ?? shown.name()} ${shown.usage()}`
  })
  command.helpOption('-h, --help', 'Show this help')
  for (const child of command.commands) adopt(child, path, io)
}

const paths = new WeakMap<Command, string>()

async function usageError(command: Command, args: readonly string[], error: CommanderError): Promise<CliError> {
  const { current, unknown } = descend(command, args)
  const path = paths.get(current) ?? 'openclaw'
  const fix = `${path} --help`
  const names = visibleNames(current)
  const misplaced = error.code === 'commander.excessArguments' || error.code === 'commander.unknownCommand'
  if (misplaced && unknown !== undefined && names.length > 0) {
    const { suggest } = await import('./suggest.ts')
    const meant = suggest(unknown, names)
    return meant === undefined
      ? new CliError('USAGE', `unknown command "${path.replace(/^openclaw /, '')} ${unknown}"`, { fix })
      : new CliError(
          'USAGE',
          `unknown command "${path.replace(/^openclaw /, '')} ${unknown}"; did you mean "${meant}"?`,
          {
            fix: `${path} ${meant}`
          }
        )
  }
  if (error.code === 'commander.help') return new CliError('USAGE', 'a command is missing', { fix })
  return new CliError('USAGE', error.message.replace(/^error: /, '').replace('\n(Did', '; (Did'), { fix })
}

/** Follows the words as far as they name subcommands; the first that does not is the unknown one. */
function descend(command: Command, args: readonly string[]): { current: Command; unknown: string | undefined } {
  let current = command
  for (const word of args) {
    if (word.startsWith('-')) break
    const child = current.commands.find((candidate) => candidate.name() === word)
    if (child === undefined) return { current, unknown: word }
    current = child
  }
  return { current, unknown: undefined }
}

function visibleNames(command: Command): string[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((child) => child.name())
}
