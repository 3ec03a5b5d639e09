import { Command } from 'commander'
import type { ChangeOptions } from '../../config/change.ts'
import { formatIssue } from '../../config/errors.ts'
import { formatKeyPath, type KeyPath, parseKeyPath, valueAt } from '../../config/key-path.ts'
import { resolvePaths } from '../../config/paths.ts'
import type { ConfigSource } from '../../config/source.ts'
import type { Paths } from '../../config/types.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson, styleOf } from '../output.ts'

/** `openclaw config`: reads and changes the configuration file; works without a running gateway. */
export function build(io: Io): Command {
  const command = new Command('config').description('Read and change the configuration').usage('<command> [options]')
  command
    .command('get')
    .description('Print the value at a path; secrets print as redacted')
    .argument('<path>', 'such as gateway.auth.mode, agents.list[0].id or a["b.c"]')
    .option('--json', 'Print JSON')
    .action((path: string, options: { json?: boolean }) => get(io, path, options))
  command
    .command('set')
    .description('Set the value at a path, keeping comments and formatting')
    .argument('<path>')
    .argument('<value>', 'JSON5; anything else is taken as text')
    .option('--strict-json', 'Take nothing but JSON for the value')
    .option('--dry-run', 'Check the change without writing it')
    .option('--json', 'Print JSON')
    .action((path: string, value: string, options: SetOptions) => set(io, path, value, options))
  command
    .command('unset')
    .description('Remove the value at a path')
    .argument('<path>')
    .option('--dry-run', 'Check the change without writing it')
    .option('--json', 'Print JSON')
    .action((path: string, options: SetOptions) => unset(io, path, options))
  command
    .command('patch')
    .description('Apply a JSON5 merge patch: objects merge, null removes, anything else replaces')
    .argument('[patch]', 'the patch; else give --file')
    .option('--file <path>', 'Read the patch from a file')
    .option('--dry-run', 'Check the change without writing it')
    .option('--json', 'Print JSON')
    .action((patch: string | undefined, options: SetOptions & { file?: string }) => applyPatch(io, patch, options))
  command
    .command('file')
    .description('Print where the configuration file is')
    .option('--json', 'Print JSON')
    .action((options: { json?: boolean }) => {
      const { configPath } = pathsOf(io)
      if (options.json === true) printJson(io, { path: configPath })
      else io.stdout(configPath)
    })
  command
    .command('validate')
    .description('Check the configuration without starting the gateway')
    .option('--json', 'Print JSON')
    .action((options: { json?: boolean }) => validate(io, options))
  return command
}

const REMOTE_URL = ['gateway', 'remote', 'url']

interface SetOptions {
  json?: boolean
  strictJson?: boolean
  dryRun?: boolean
}

function pathsOf(io: Io): Paths {
  return resolvePaths(io.env, { profile: io.profile, dev: io.dev })
}

function keyPath(text: string): (string | number)[] {
  try {
    return parseKeyPath(text)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new CliError('USAGE', message, { fix: 'openclaw config get gateway.port' })
  }
}

async function get(io: Io, text: string, { json }: { json?: boolean }): Promise<void> {
  const path = keyPath(text)
  const paths = pathsOf(io)
  const [{ readSource }, { withDotenv }, { redactValue }] = await Promise.all([
    import('../../config/source.ts'),
    import('../../config/env.ts'),
    import('../../config/redact.ts')
  ])
  const source = readSource(paths, withDotenv(io.env, paths.stateDir))
  const value = valueAt(redactValue(source.expanded), path)
  if (value === undefined)
    throw new CliError('CONFIG_UNSET', `${text} is not set`, { fix: `openclaw config set ${text} VALUE` })
  if (json === true || (typeof value === 'object' && value !== null)) printJson(io, value)
  else io.stdout(printable(String(value)))
}

async function set(io: Io, text: string, given: string, options: SetOptions): Promise<void> {
  const path = keyPath(text)
  const value = await parseValue(given, options.strictJson === true)
  const { setKey } = await import('../../config/edit.ts')
  const outcome = await change(
    io,
    options,
    (raw) => setKey(raw, path, value),
    async (after) => {
      const { isDeepStrictEqual } = await import('node:util')
      if (!isDeepStrictEqual(valueAt(after.expanded, path), value)) throw included(after, path)
    }
  )
  await report(io, options, outcome, `Set ${text}`, [path])
}

async function unset(io: Io, text: string, options: SetOptions): Promise<void> {
  const path = keyPath(text)
  const { unsetKey } = await import('../../config/edit.ts')
  const outcome = await change(
    io,
    options,
    (raw, source) => {
      if (valueAt(source.authored, path) !== undefined) return unsetKey(raw, path)
      if (valueAt(source.expanded, path) !== undefined) throw included(source, path)
      throw new CliError('CONFIG_UNSET', `${text} is not set`, { fix: 'openclaw config file' })
    },
    async (after) => {
      const gone = typeof path.at(-1) === 'number' || valueAt(after.expanded, path) === undefined
      if (!gone) throw included(after, path)
    }
  )
  await report(io, options, outcome, `Removed ${text}`, [path])
}

async function applyPatch(io: Io, given: string | undefined, options: SetOptions & { file?: string }): Promise<void> {
  if ((given === undefined) === (options.file === undefined)) {
    throw new CliError('USAGE', 'give either a patch or --file', {
      fix: "openclaw config patch '{ gateway: { port: 18790 } }'"
    })
  }
  const { readFile } = await import('node:fs/promises')
  const patch = await parseValue(given ?? (await readFile(options.file ?? '', 'utf8')), false)
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) {
    throw new CliError('USAGE', 'a patch is an object', { fix: "openclaw config patch '{ gateway: { port: 18790 } }'" })
  }
  const { patchText } = await import('../../config/edit.ts')
  const outcome = await change(
    io,
    options,
    (raw) => patchText(raw, patch),
    async () => {}
  )
  await report(
    io,
    options,
    outcome,
    'Patched',
    Object.keys(patch).map((key) => [key])
  )
}

async function parseValue(text: string, strict: boolean): Promise<unknown> {
  if (strict) {
    try {
      return JSON.parse(text)
    } catch {
      throw new CliError('USAGE', `not JSON: ${text}`, { fix: `openclaw config set PATH '"text"' --strict-json` })
    }
  }
  const { default: JSON5 } = await import('json5')
  try {
    return JSON5.parse(text)
  } catch {
    return text
  }
}

async function change(
  io: Io,
  { dryRun }: SetOptions,
  edit: ChangeOptions['edit'],
  verify: (after: ConfigSource) => Promise<void>
): Promise<{ changed: boolean; paths: Paths }> {
  const paths = pathsOf(io)
  const [{ changeConfig }, { startRefusal }, { urlEndpoint }] = await Promise.all([
    import('../../config/change.ts'),
    import('../../auth/bind-policy.ts'),
    import('../../client/target.ts')
  ])
  let before: unknown
  try {
    const { changed } = await changeConfig({
      paths,
      env: io.env,
      check: startRefusal,
      edit,
      expect: (source) => {
        before = valueAt(source.expanded, REMOTE_URL)
      },
      verify: async (after) => {
        const url = valueAt(after.expanded, REMOTE_URL)
        if (typeof url === 'string' && url !== before) urlEndpoint(url, 'config gateway.remote.url', 'remote')
        await verify(after)
      },
      dryRun: dryRun === true
    })
    return { changed, paths }
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error
    throw new CliError('CONFIG_EDIT', error.message, { cause: error })
  }
}

function included(source: ConfigSource, path: KeyPath): CliError {
  const owner = source.included.findLast(({ at }) => at.every((part, index) => part === path[index]))
  const file = owner?.path ?? 'an included file'
  return new CliError('CONFIG_INCLUDED', `${formatKeyPath(path)} comes from ${file}; change it there`, {
    fix: `edit ${file}`
  })
}

async function report(
  io: Io,
  options: SetOptions,
  { changed, paths }: { changed: boolean; paths: Paths },
  done: string,
  touched: readonly KeyPath[]
): Promise<void> {
  const written = changed && options.dryRun !== true
  const { isRead, needsRestart } = await import('../../config/reload.ts')
  const keys = touched.map(formatKeyPath).filter(isRead)
  const waits = changed && keys.some((key) => key === 'gateway' || needsRestart(key))
  const applied = written && keys.length > 0 ? await tryToApply(io) : undefined
  if (options.json === true) {
    printJson(io, {
      ok: true,
      changed: written,
      dryRun: options.dryRun === true,
      path: paths.configPath,
      restart: applied === undefined ? waits : applied.restart.length > 0
    })
    return
  }
  if (!written) {
    io.stdout(changed ? 'Dry run successful: the change is valid; nothing was written.' : 'No change')
    return
  }
  io.stdout(done)
  if (keys.length === 0) io.stdout('No gateway restart needed.')
  else if (applied === undefined)
    io.stdout(waits ? 'Restart the gateway to apply.' : 'It applies at once, or at the next start.')
  else if (applied.restart.length > 0) io.stdout(`Restart the gateway to apply: ${applied.restart.join(', ')}`)
  else io.stdout('The running gateway applied it.')
}

// The change is written either way; a gateway that cannot take it says why.
async function tryToApply(io: Io) {
  const { applyNow } = await import('../apply.ts')
  try {
    return await applyNow(io)
  } catch (error) {
    io.stderr(`warning: the running gateway did not apply it: ${printable((error as Error).message)}`)
    return undefined
  }
}

async function validate(io: Io, { json }: { json?: boolean }): Promise<void> {
  const paths = pathsOf(io)
  const [{ loadConfig }, { startRefusal }, { ConfigError }] = await Promise.all([
    import('../../config/load.ts'),
    import('../../auth/bind-policy.ts'),
    import('../../config/errors.ts')
  ])
  let warnings: readonly string[] = []
  let failure: InstanceType<typeof ConfigError> | undefined
  try {
    const config = await loadConfig({ env: io.env, paths })
    warnings = config.warnings
    const refusal = config.gateway.mode === 'remote' ? undefined : startRefusal(config.gateway)
    if (refusal !== undefined) {
      failure = new ConfigError('CONFIG_WOULD_NOT_START', refusal.message, { fix: refusal.fix.command })
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    // A file that points at another gateway is a client's: it is valid, though no gateway starts with it.
    if (error.code !== 'CONFIG_MODE_REMOTE') failure = error
  }
  if (failure !== undefined) io.exit(failure.exitCode)
  if (json === true) {
    const issues =
      failure === undefined ? [] : failure.issues.length > 0 ? failure.issues : [{ path: '', message: failure.message }]
    printJson(io, { ok: failure === undefined, valid: failure === undefined, path: paths.configPath, issues, warnings })
    return
  }
  const style = styleOf(io)
  for (const warning of warnings) io.stderr(`${style.yellow('warning:')} ${printable(warning)}`)
  if (failure === undefined) io.stdout(`${paths.configPath} is valid`)
  else if (failure.issues.length === 0) io.stderr(`${style.red('error:')} ${printable(failure.message)}`)
  for (const issue of failure?.issues ?? []) {
    io.stderr(`${style.red('error:')} ${printable(formatIssue(paths.configPath, issue))}`)
  }
}
