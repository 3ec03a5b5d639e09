import { VERSION } from '../../package.ts'
import type { Io } from '../io.ts'
import { printable, styleOf } from '../output.ts'
import { wrap } from '../wrap.ts'
import type { Check } from './check.ts'
import type { Repaired } from './repair.ts'

/** The checks as `--json` prints them; `findings` has the reference's shape. */
export function jsonOf(checks: readonly Check[]): Record<string, unknown> {
  const wrong = checks.filter(({ status }) => status === 'warning' || status === 'error')
  return {
    schemaVersion: 1,
    ok: wrong.length === 0,
    checksRun: checks.filter(({ status }) => status !== 'skipped').length,
    checksSkipped: checks.filter(({ status }) => status === 'skipped').length,
    checks,
    findings: wrong.map(({ id, status, detail, path, line, column, fix }) => ({
      checkId: id,
      severity: status,
      message: detail,
      path,
      line,
      column,
      fixHint: fix?.command
    }))
  }
}

/** Prints the checks for a person, and a summary as the last line. */
export function printChecks(io: Io, checks: readonly Check[], fixed: boolean): void {
  const style = styleOf(io)
  const paint = { ok: style.green, warning: style.yellow, error: style.red, skipped: style.dim }
  io.stdout(`${style.bold('OpenClaw Gateway doctor')} ${VERSION}\n`)
  const width = Math.max(...checks.map(({ title }) => title.length))
  const indent = ' '.repeat(9 + width + 2)
  for (const { status, title, detail, fix } of checks) {
    const [first = '', ...rest] = wrap(printable(detail), Math.max(80 - indent.length, 40))
    io.stdout(`${paint[status](status.padEnd(9))}${title.padEnd(width)}  ${first}`)
    for (const line of rest) io.stdout(indent + line)
    if (fix !== undefined) io.stdout(`${indent}${style.green('fix:')} ${printable(fix.command)}`)
  }
  io.stdout(`\n${summary(checks, fixed)}`)
}

function summary(checks: readonly Check[], fixed: boolean): string {
  const count = (status: Check['status']) => checks.filter((check) => check.status === status).length
  const [errors, warnings] = [count('error'), count('warning')]
  if (errors + warnings === 0) return 'Nothing is wrong.'
  const said = `${plural(errors, 'error')}, ${plural(warnings, 'warning')}.`
  const mendable = checks.filter((check) => check.mendable === true).length
  return fixed || mendable === 0 ? said : `${said} "openclaw doctor --fix" mends ${mendable}.`
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Prints what `--fix` has done. */
export function printRepaired(io: Io, { done, failed }: Repaired): void {
  const style = styleOf(io)
  for (const what of done) io.stdout(`${style.green('done')}  ${printable(what)}`)
  for (const what of failed) io.stdout(`${style.red('left')}  ${printable(what)}`)
  if (done.length + failed.length > 0) io.stdout('')
}
