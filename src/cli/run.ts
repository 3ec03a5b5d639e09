import { COMMANDS, type CommandEntry } from './commands.ts'
import { reportError } from './errors.ts'
import { CliError, type Globals, parseGlobals, processIo } from './io.ts'

/** Runs one command line; the outcome is on the standard streams and in the exit code. */
export async function run(argv: readonly string[]): Promise<void> {
  let globals: Globals = { profile: undefined, dev: false, noColor: false, rest: [...argv] }
  let failure: unknown
  try {
    globals = parseGlobals(argv)
  } catch (error) {
    failure = error
  }
  const io = processIo(globals)
  try {
    if (failure !== undefined) throw failure
    await dispatch(io, globals.rest)
  } catch (error) {
    reportError(io, error, wantsJson(globals.rest))
  }
}

async function dispatch(io: ReturnType<typeof processIo>, words: readonly string[]): Promise<void> {
  const args = words[0] === '--' ? words.slice(1) : words
  const [first, ...others] = args
  if (first === '--version' || first === '-V' || first === '-v') {
    const { VERSION } = await import('../package.ts')
    io.stdout(`openclaw-gateway ${VERSION}`)
  } else if (first === undefined || first === '--help' || first === '-h') {
    const { rootHelp } = await import('./help.ts')
    io.stdout(rootHelp(io))
  } else if (first === 'help') {
    await dispatch(io, [...others, '--help'])
  } else {
    const { runCommand } = await import('./command-runner.ts')
    await runCommand(io, await find(first), others)
  }
}

async function find(name: string): Promise<CommandEntry> {
  const entry = COMMANDS.find((candidate) => candidate.name === name)
  if (entry !== undefined) return entry
  if (name.startsWith('-')) throw new CliError('USAGE', `unknown option ${name}`, { fix: 'openclaw --help' })
  const { suggest } = await import('./suggest.ts')
  const meant = suggest(
    name,
    COMMANDS.map((candidate) => candidate.name)
  )
  throw new CliError('USAGE', `unknown command "${name}"${meant === undefined ? '' : `; did you mean "${meant}"?`}`, {
    fix: meant === undefined ? 'openclaw --help' : `openclaw ${meant}`
  })
}

function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return (end === -1 ? args : args.slice(0, end)).includes('--json')
}
