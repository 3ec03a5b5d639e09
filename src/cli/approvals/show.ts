import type { ApprovalsSnapshot } from '../../approvals/document.ts'
import { settingsOf } from '../../approvals/policy.ts'
import { isExact } from '../../approvals/rules.ts'
import type { Approvals, Rule } from '../../approvals/schema.ts'
import type { Io } from '../io.ts'
import { formatDuration, printable, printRows, styleOf } from '../output.ts'
import { tableLayout } from '../table.ts'
import { type HostSnapshot, isNative, type NativePolicy } from './host.ts'

/** A rule, and whose it is. */
export interface OwnedRule extends Rule {
  agent: string
}

/** Every rule of a document, by agent. */
export function allRules({ agents = {} }: Approvals): OwnedRule[] {
  return Object.entries(agents).flatMap(([agent, { allowlist = [] }]) => allowlist.map((rule) => ({ agent, ...rule })))
}

/** Prints what a host allows its agents to run. */
export function printPolicy(io: Io, name: string, snapshot: HostSnapshot): void {
  io.stdout(styleOf(io).bold(printable(`Exec approvals of ${name}`)))
  if (isNative(snapshot)) printNative(io, snapshot)
  else printDocument(io, snapshot)
}

function printDocument(io: Io, { path, exists, hash, file }: ApprovalsSnapshot): void {
  printRows(io, [
    ['File', exists ? path : `${path} (not there yet: nobody is asked, and everything runs)`],
    ['Hash', hash]
  ])
  const agents = Object.entries(file.agents ?? {})
  const { head, line } = tableLayout<[name: string, id: string | undefined, rules: number]>(
    io,
    [
      { title: 'AGENT', max: 20, text: ([name]) => name },
      { title: 'SECURITY', text: ([, id]) => held(id).security },
      { title: 'ASK', text: ([, id]) => held(id).ask },
      { title: 'NOBODY TO ASK', text: ([, id]) => held(id).askFallback },
      { title: 'RULES', text: ([, , rules]) => String(rules) }
    ],
    rowsOf()
  )
  io.stdout(`\n${head}`)
  for (const row of rowsOf()) io.stdout(line(row))
  const rules = allRules(file)
  if (rules.length === 0) return
  io.stdout('')
  printRules(io, rules)

  function rowsOf(): [string, string | undefined, number][] {
    const named = agents.map(([id, { allowlist = [] }]): [string, string, number] => [id, id, allowlist.length])
    return [['(defaults)', undefined, 0], ...named]
  }

  function held(id: string | undefined) {
    return settingsOf(id === undefined ? { ...file, agents: {} } : file, id)
  }
}

/** Prints rules as a table. */
export function printRules(io: Io, rules: readonly OwnedRule[]): void {
  const { head, line } = tableLayout<OwnedRule>(
    io,
    [
      { title: 'AGENT', max: 14, text: ({ agent }) => agent },
      { title: 'LAST USED', text: ({ lastUsedAt }) => age(lastUsedAt) },
      { title: 'ARGUMENTS', max: 24, text: (rule) => (isExact(rule) ? 'one command' : (rule.argPattern ?? 'any')) },
      { title: 'PATTERN', text: ({ pattern }) => pattern }
    ],
    rules
  )
  io.stdout(head)
  for (const rule of rules) io.stdout(line(rule))
}

function printNative(io: Io, { enabled, hash, defaultAction, rules = [], message }: NativePolicy): void {
  printRows(io, [
    ['Policy', enabled ? 'its own' : `turned off${message === undefined ? '' : ` (${message})`}`],
    ['Hash', hash],
    ['Default', defaultAction],
    ...rules.map(({ pattern, action }, index): [string, string] => [`Rule ${index + 1}`, `${action}  ${pattern}`])
  ])
}

function age(ts: number | undefined): string {
  if (ts === undefined) return 'never'
  const [largest] = formatDuration(Math.max(1_000, Date.now() - ts)).split(' ')
  return `${largest} ago`
}
