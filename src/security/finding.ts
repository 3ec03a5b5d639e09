import type { Fix } from '../protocol/errors.ts'

/** How bad a finding is: `critical` lets somebody in, `warn` weakens a wall, `info` is to be known. */
export type Severity = 'critical' | 'warn' | 'info'

/** One thing that an audit found. Never holds a secret. */
export interface Finding {
  /** The reference's name of the check where it has one of the same meaning. */
  checkId: string
  severity: Severity
  /** What is so. */
  title: string
  /** Why it matters here: the key, and its value. */
  detail: string
  /** What to do about it, in words. */
  remediation: string
  /** A command that does it as it stands; absent where a person has to decide. */
  fix?: Fix
}

/** The command that sets a key; the value is written as the shell and `config set` read it. */
export function setFix(key: string, value: unknown): Fix {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return hostFix(`openclaw config set ${shellWord(key)} ${shellWord(text)}`)
}

/** The command that removes a key. */
export function unsetFix(key: string): Fix {
  return hostFix(`openclaw config unset ${shellWord(key)}`)
}

/** A command for the gateway's host. */
export function hostFix(command: string): Fix {
  return { command, where: 'gateway host' }
}

/** The command that leaves only some entries of a list; a list without any is removed. */
export function keepFix(key: string, kept: readonly string[]): Fix {
  return kept.length === 0 ? unsetFix(key) : setFix(key, kept)
}

/** A text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

/** Values from the configuration as a sentence lists them: quoted, and not without end. */
export function quoteAll(values: readonly string[]): string {
  const shown = values.slice(0, 8).map((value) => JSON.stringify(value.slice(0, 120)))
  return values.length > 8 ? `${shown.join(', ')} and ${values.length - 8} more` : shown.join(', ')
}
