/** What a command may do to the outside: print, and set the exit code. */
export interface Io {
  env: NodeJS.ProcessEnv
  /** `--profile`, given before or after the command. */
  profile: string | undefined
  /** `--dev`, given before or after the command. */
  dev: boolean
  /** Writes text and a newline to standard output. */
  stdout(text: string): void
  /** Writes text and a newline to standard error. */
  stderr(text: string): void
  /** Reports whether standard output is a terminal. */
  isTTY: boolean
  /** Reports whether colour is wanted: a terminal, no NO_COLOR, no `--no-color`. */
  color: boolean
  /** Sets the exit code; the command returns normally. */
  exit(code: number): void
}

/** A failure for a person: `error: …` and `fix: …`, or with `--json` one JSON document on standard output. */
export class CliError extends Error {
  readonly code: string
  readonly fix: string | undefined
  readonly exitCode: number
  /** The reference's name for the kind of failure; scripts read it in JSON. */
  readonly type: string
  /** What else stands beside `error` in JSON. */
  readonly extra: Readonly<Record<string, unknown>>
  /** What else stands in it: what the gateway told. */
  readonly told: Readonly<Record<string, unknown>>

  constructor(
    code: string,
    message: string,
    options: {
      fix?: string | undefined
      exitCode?: number
      cause?: unknown
      type?: string
      extra?: Record<string, unknown>
      told?: Record<string, unknown>
    } = {}
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'CliError'
    this.code = code
    this.fix = options.fix
    this.exitCode = options.exitCode ?? 1
    this.type = options.type ?? 'cli_error'
    this.extra = options.extra ?? {}
    this.told = options.told ?? {}
  }
}

/** The flags that stand before or after any command. */
export interface Globals {
  profile: string | undefined
  dev: boolean
  noColor: boolean
  /** The arguments without the global flags. */
  rest: string[]
}

/** Takes the global flags out of the arguments; everything after `--` stays as it is. */
export function parseGlobals(argv: readonly string[]): Globals {
  const globals: Globals = { profile: undefined, dev: false, noColor: false, rest: [] }
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '--') {
      globals.rest.push(...argv.slice(i))
      break
    }
    if (word === '--dev') globals.dev = true
    else if (word === '--no-color') globals.noColor = true
    else if (word === '--profile') {
      globals.profile = argv[++i]
      if (globals.profile === undefined || globals.profile.startsWith('-')) throw missingProfile()
    } else if (word.startsWith('--profile=')) {
      globals.profile = word.slice('--profile='.length)
      if (globals.profile === '') throw missingProfile()
    } else globals.rest.push(word)
  }
  return globals
}

function missingProfile(): CliError {
  return new CliError('USAGE', '--profile needs a name', { fix: 'openclaw --profile NAME …' })
}

/** The real process as an Io. */
export function processIo(globals: Globals): Io {
  // A reader that went away (`| head`) is not an error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  const isTTY = process.stdout.isTTY === true
  return {
    env: process.env,
    profile: globals.profile,
    dev: globals.dev,
    stdout: (text) => void process.stdout.write(`${text}\n`),
    stderr: (text) => void process.stderr.write(`${text}\n`),
    isTTY,
    color: isTTY && !globals.noColor && !process.env.NO_COLOR,
    exit: (code) => {
      process.exitCode = code
    }
  }
}
