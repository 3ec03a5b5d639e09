import { VERSION } from '../package.ts'
import { COMMANDS, EXAMPLES } from './commands.ts'
import type { Io } from './io.ts'
import { styleOf } from './output.ts'

const GLOBAL_FLAGS: readonly (readonly [string, string])[] = [
  ['--profile <name>', 'Keep state in ~/.openclaw-<name>, apart from every other profile'],
  ['--dev', 'Like --profile dev, on port 19001'],
  ['--no-color', 'No colour (also NO_COLOR=1)'],
  ['-V, --version', 'Print the version'],
  ['-h, --help', 'Show help; also: openclaw <command> --help']
]

/** What `openclaw --help` prints. */
export function rootHelp(io: Io): string {
  const style = styleOf(io)
  const section = (title: string, rows: readonly (readonly [string, string])[]): string => {
    const width = Math.max(...rows.map(([left]) => left.length))
    const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${style.dim(right)}`)
    return `${style.bold(title)}\n${lines.join('\n')}`
  }
  return [
    `${style.bold('OpenClaw Gateway')} ${VERSION}: one process, one port, safe by construction`,
    `${style.bold('Usage:')} openclaw [--profile NAME] <command> [options]`,
    section(
      'Commands:',
      COMMANDS.filter(({ hidden }) => hidden !== true).map(({ name, summary }) => [name, summary])
    ),
    section('Options:', GLOBAL_FLAGS),
    section('Examples:', EXAMPLES),
    `${style.bold('Docs:')} README.md in the package; every command takes --help, every report takes --json`
  ].join('\n\n')
}
