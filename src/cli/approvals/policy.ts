import type { AgentApprovals, Approvals } from '../../approvals/schema.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson } from '../output.ts'
import { documentOf, type HostOptions, withHost } from './host.ts'

/** Where `set` reads the new document from. */
export interface SetOptions extends HostOptions {
  file?: string
  stdin?: boolean
}

/** Whose allowlist is meant. */
export interface AllowlistOptions extends HostOptions {
  agent?: string
}

/** The agents that a rule is for unless it names one: all of them. */
const EVERYBODY = '*'

/** `approvals get` */
export function get(io: Io, options: HostOptions): Promise<void> {
  return withHost(io, options, async ({ name, read }) => {
    const snapshot = await read()
    if (options.json === true) return printJson(io, snapshot)
    const { printPolicy } = await import('./show.ts')
    printPolicy(io, name, snapshot)
  })
}

/** `approvals set` */
export async function set(io: Io, options: SetOptions): Promise<void> {
  const { file, stdin = false } = options
  if ((file === undefined) === !stdin) {
    throw new CliError('USAGE', 'give either --file or --stdin', { fix: 'openclaw approvals set --file FILE' })
  }
  const text = file === undefined ? await readStdin() : await readFrom(file)
  await withHost(io, options, async ({ name, replace }) => {
    const snapshot = await replace(text, file ?? 'standard input')
    if (options.json === true) return printJson(io, snapshot)
    const { printPolicy } = await import('./show.ts')
    printPolicy(io, name, snapshot)
  })
}

/** `approvals allowlist list` */
export function listRules(io: Io, options: AllowlistOptions): Promise<void> {
  return withHost(io, options, async ({ name, read }) => {
    const snapshot = await read()
    const { allRules, printRules } = await import('./show.ts')
    const rules = allRules(documentOf(snapshot, name).file).filter(
      ({ agent }) => options.agent === undefined || agent === options.agent
    )
    if (options.json === true) return printJson(io, { rules })
    if (rules.length > 0) return printRules(io, rules)
    io.stdout(printable(`No rules at ${name}. Add one: openclaw approvals allowlist add "/usr/bin/uname"`))
  })
}

/** `approvals allowlist add` */
export async function addRule(io: Io, given: string, options: AllowlistOptions): Promise<void> {
  const pattern = word(given, 'the pattern')
  const agent = word(options.agent ?? EVERYBODY, '--agent')
  await edit(io, options, {
    apply: (rules = []) =>
      rules.some((rule) => rule.pattern === pattern && rule.argPattern === undefined)
        ? undefined
        : [...rules, { pattern }],
    agent,
    changed: `Allowed ${pattern} to ${whose(agent)}`,
    same: 'Already allowlisted.'
  })
  const { isCarrier } = await import('../../approvals/programs.ts')
  if (options.json !== true && isCarrier({ argv: [pattern], resolvedPath: undefined })) {
    io.stderr(
      printable(
        `note: ${pattern} runs what its arguments say, so this rule alone allows nothing; give it an argPattern`
      )
    )
  }
}

/** `approvals allowlist remove` */
export async function removeRule(io: Io, given: string, options: AllowlistOptions): Promise<void> {
  const pattern = word(given, 'the pattern')
  const agent = word(options.agent ?? EVERYBODY, '--agent')
  await edit(io, options, {
    apply(rules = []) {
      const left = rules.filter((rule) => rule.pattern !== pattern && rule.id !== pattern)
      return left.length === rules.length ? undefined : left
    },
    agent,
    changed: `Took ${pattern} from ${whose(agent)}`,
    same: 'Pattern not found.'
  })
}

interface Edit {
  apply(rules: AgentApprovals['allowlist']): AgentApprovals['allowlist'] | undefined
  agent: string
  /** What is said of a change, and of none. */
  changed: string
  same: string
}

async function edit(io: Io, options: AllowlistOptions, { apply, agent, changed, same }: Edit): Promise<void> {
  const [{ withAgent }, { settingsOf }] = await Promise.all([
    import('../../approvals/document.ts'),
    import('../../approvals/policy.ts')
  ])
  let written = false
  const change = (current: Approvals): Approvals | undefined => {
    const next = apply(current.agents && Object.hasOwn(current.agents, agent) ? current.agents[agent]?.allowlist : [])
    written = next !== undefined
    return next && withAgent(current, agent, (before) => ({ ...before, allowlist: next }))
  }
  await withHost(io, options, async (host) => {
    const snapshot = await host.change(change)
    if (options.json === true) return printJson(io, snapshot)
    io.stdout(printable(written ? `${changed} at ${host.name}.` : same))
    if (settingsOf(snapshot.file, agent).security !== 'full') return
    io.stderr(
      printable(`note: rules change nothing there yet: security is full for ${whose(agent)}, so everything runs`)
    )
  })
}

function whose(agent: string): string {
  return agent === EVERYBODY ? 'all agents' : `agent ${agent}`
}

function word(text: string, what: string): string {
  const trimmed = text.trim()
  if (trimmed !== '') return trimmed
  throw new CliError('USAGE', `${what} is empty`, { fix: 'openclaw approvals allowlist add "/usr/bin/uname"' })
}

const MAX_BYTES = 1_048_576

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw tooLarge('standard input')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

async function readFrom(file: string): Promise<string> {
  const { readFile, stat } = await import('node:fs/promises')
  try {
    if ((await stat(file)).size > MAX_BYTES) throw tooLarge(file)
    return await readFile(file, 'utf8')
  } catch (cause) {
    if (cause instanceof CliError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    throw new CliError('FILE_UNREADABLE', `cannot read ${file}: ${code ?? message}`, { fix: `ls -l ${file}`, cause })
  }
}

function tooLarge(name: string): CliError {
  return new CliError('APPROVALS_INVALID', `${name} is larger than 1 MiB`, { fix: 'openclaw approvals get --json' })
}
