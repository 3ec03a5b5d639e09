import { basename } from 'node:path'
import { Argument, Command, Option } from 'commander'
import { COMMANDS } from '../commands.ts'
import { completionScript, SHELLS, type Shell, type Word, type Words } from '../completion.ts'
import type { Io } from '../io.ts'

const GLOBALS = ['--profile', '--dev', '--no-color', '--version', '--help']

/** `openclaw completion`: a script for the shell, made from the commands themselves. */
export function build(io: Io): Command {
  return new Command('completion')
    .description('Print a completion script for your shell')
    .addArgument(new Argument('[shell]', 'Default: the one in $SHELL').choices(SHELLS))
    .addOption(new Option('-s, --shell <shell>', 'The same as the argument').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  source <(openclaw completion bash)                                        bash: ~/.bashrc
  source <(openclaw completion zsh)                                         zsh: ~/.zshrc, after compinit
  openclaw completion fish > ~/.config/fish/completions/openclaw.fish       fish`
    )
    .action(async (argument: Shell | undefined, options: { shell?: Shell }) => {
      const shell = argument ?? options.shell ?? shellOf(io.env.SHELL)
      io.stdout(completionScript(shell, await collect(io)))
    })
}

function shellOf(path: string | undefined): Shell {
  const name = basename(path ?? '')
  return SHELLS.find((shell) => shell === name) ?? 'zsh'
}

async function collect(io: Io): Promise<Words[]> {
  const shown = COMMANDS.filter(({ hidden }) => hidden !== true)
  const summaries = shown.map(({ name, summary }) => ({ word: name, summary }))
  const all: Words[] = [{ path: [], words: [...summaries, ...GLOBALS.map((word) => ({ word, summary: '' }))] }]
  for (const entry of shown) {
    const { build: make } = await entry.load()
    walk(make(io), [entry.name], all)
  }
  // Bare `gateway` runs it, so that what `run` takes may follow at once.
  const bare = all.find(({ path }) => path.join(' ') === 'gateway')
  const run = all.find(({ path }) => path.join(' ') === 'gateway run')
  if (bare !== undefined && run !== undefined) {
    const known = new Set(bare.words.map(({ word }) => word))
    bare.words = [...bare.words, ...run.words.filter(({ word }) => !known.has(word))]
  }
  return all
}

function walk(command: Command, path: readonly string[], all: Words[]): void {
  const help = command.createHelp()
  const children = help.visibleCommands(command).filter((child) => child.name() !== 'help')
  const options = help.visibleOptions(command).map((option): Word => {
    const described = { word: option.long ?? option.short ?? '', summary: option.description }
    return option.required ? { ...described, values: option.argChoices ?? [] } : described
  })
  const words = children.map((child) => ({ word: child.name(), summary: child.description() }))
  const values = command.registeredArguments.flatMap(({ argChoices = [], description }) =>
    argChoices.map((word) => ({ word, summary: description }))
  )
  all.push({ path, words: [...words, ...values, ...options].filter(({ word }) => word !== '') })
  for (const child of children) walk(child, [...path, child.name()], all)
}
