import { existsSync } from 'node:fs'
import { startRefusal } from '../../auth/bind-policy.ts'
import { checkSource, toIssues } from '../../config/check.ts'
import { ConfigError, formatIssue } from '../../config/errors.ts'
import { formatKeyPath, valueAt } from '../../config/key-path.ts'
import { resolveConfig } from '../../config/load.ts'
import { isSecretRef } from '../../config/secrets.ts'
import { type ConfigSource, readSource } from '../../config/source.ts'
import type { ConfigIssue } from '../../config/types.ts'
import { shellWord } from '../../security/finding.ts'
import { type Check, MENDABLE, subject } from './check.ts'
import { editsFor } from './config-repairs.ts'
import { type DoctorContext, isRemote } from './context.ts'

const file = subject('config', 'Configuration')
const start = subject('start', 'Start')

/** The configuration file: there, readable, valid. */
export function configChecks({ source, problem, paths, env, running }: DoctorContext): Check[] {
  if (source === undefined) return unreadable(problem, paths.configPath, env)
  if (!source.exists) {
    const detail = `there is none at ${paths.configPath}; the first start writes one, with a token`
    return [
      running.running ? file.ok(detail) : file.warning(detail, { path: paths.configPath, fix: 'openclaw gateway run' })
    ]
  }
  const edits = editsFor(source, env)
  const mended = new Set(edits.map(({ path }) => formatKeyPath(path)))
  const { problems, warnings } = checkSource(source)
  const others = problems.filter(({ kind, at }) => kind !== 'missing-variable' && !mended.has(formatKeyPath(at)))
  const checks = [
    ...edits.map(({ why, path }) => file.error(why, { path: formatKeyPath(path), ...MENDABLE })),
    ...toIssues(source, others).map((issue) => invalid(issue, paths.configPath))
  ]
  if (checks.length > 0) return checks
  const unused = warnings.map((warning) => warning.split(':')[0]).slice(0, 8)
  const rest = unused.length === 0 ? '' : `; not used here: ${unused.join(', ')}`
  return [file.ok(`${paths.configPath} is valid${rest}`)]
}

function invalid(issue: ConfigIssue, configPath: string): Check {
  const { line, column } = issue
  return file.error(formatIssue(configPath, issue), {
    path: issue.path === '' ? configPath : issue.path,
    line,
    column,
    fix: 'openclaw config validate'
  })
}

function unreadable(problem: ConfigError | undefined, configPath: string, env: DoctorContext['env']): Check[] {
  const backup = `${configPath}.bak`
  const fix = isGood(backup, env)
    ? `cp ${shellWord(backup)} ${shellWord(configPath)}`
    : (problem?.fix.command ?? 'openclaw config validate')
  const issues = problem?.issues ?? []
  if (issues.length === 0) return [file.error(problem?.message ?? 'it cannot be read', { path: configPath, fix })]
  return issues.map((issue) => ({
    ...invalid(issue, configPath),
    fix: { command: fix, where: 'gateway host' as const }
  }))
}

// The last good text, kept by every change: back to it is one command, when it is whole.
function isGood(backup: string, env: DoctorContext['env']): boolean {
  if (!existsSync(backup)) return false
  try {
    return readSource({ home: '', stateDir: '', localSocket: '', configPath: backup }, env).exists
  } catch {
    return false
  }
}

/** Whether a gateway would start with it. Programs that hand out secrets are not run for that. */
export async function startCheck(context: DoctorContext): Promise<Check> {
  const { source, paths, env } = context
  if (isRemote(context)) return start.skipped('gateway.mode is "remote": this host uses a gateway elsewhere')
  if (source === undefined) return start.skipped('the configuration cannot be read')
  if (!source.exists) return start.ok('the first start makes what it needs')
  if (editsFor(source, env).length > 0) return start.error('not before the configuration is mended', { ...MENDABLE })
  try {
    const { gateway } = await resolveConfig(withoutPrograms(source), { env, paths })
    const refusal = startRefusal(gateway)
    if (refusal !== undefined) return start.error(refusal.message, { fix: refusal.fix.command })
    return start.ok(`would listen on ${gateway.bind}, port ${gateway.port}, auth ${gateway.auth.mode}`)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [issue] = error.issues
    return start.error(error.message, { ...(issue === undefined ? {} : { path: issue.path }), fix: error.fix.command })
  }
}

// What an `exec` reference would hand out is taken to be good.
function withoutPrograms(source: ConfigSource): ConfigSource {
  const copy = { ...source, value: structuredClone(source.value), expanded: structuredClone(source.expanded) }
  for (const key of ['token', 'password']) {
    for (const root of [copy.value, copy.expanded]) {
      const auth = valueAt(root, ['gateway', 'auth']) as Record<string, unknown> | undefined
      const written = auth?.[key]
      if (auth !== undefined && isSecretRef(written) && written.source === 'exec') auth[key] = 'not-asked-for'
    }
  }
  return copy
}
