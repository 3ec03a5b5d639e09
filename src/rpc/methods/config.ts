import { Type } from 'typebox'
import type { Changed } from '../../config/change.ts'
import type { Env } from '../../config/paths.ts'
import type { ConfigSource } from '../../config/source.ts'
import type { Paths } from '../../config/types.ts'
import { invalidRequest, RpcError } from '../../protocol/errors.ts'
import type { Reloader, ReloadOutcome } from '../../reload.ts'
import { defineMethod, type Method, type Publish } from '../method.ts'

/** What the configuration methods work on. */
export interface ConfigMethodDeps {
  paths: Paths
  env: Env
  /** Of this gateway, for `config.schema`. */
  version: string
  publish: Publish
  log: { info(fields: object, message: string): void }
  /** What applies the file while the gateway runs, where something does. */
  reloader(): Pick<Reloader, 'now' | 'state'> | undefined
}

const Empty = Type.Object({}, { additionalProperties: false })
const Filled = Type.String({ minLength: 1 })
const write = { raw: Filled, baseHash: Type.Optional(Filled) }
const apply = {
  ...write,
  sessionKey: Type.Optional(Type.String()),
  deliveryContext: Type.Optional(
    Type.Object(
      {
        channel: Type.Optional(Type.String()),
        to: Type.Optional(Type.String()),
        accountId: Type.Optional(Type.String()),
        threadId: Type.Optional(Type.Union([Type.String(), Type.Number()]))
      },
      { additionalProperties: false }
    )
  ),
  note: Type.Optional(Type.String()),
  restartDelayMs: Type.Optional(Type.Integer({ minimum: 0 }))
}

/** The `config.*` methods: the file redacted on the way out, checked and restored on the way in. */
export function configMethods(deps: ConfigMethodDeps): Method[] {
  return [
    defineMethod({ name: 'config.get', scope: 'operator.read', params: Empty, handler: () => get(deps) }),
    defineMethod({
      name: 'config.set',
      scope: 'operator.admin',
      write: true,
      params: Type.Object(write, { additionalProperties: false }),
      handler: (params) => replace(deps, params)
    }),
    defineMethod({
      name: 'config.apply',
      scope: 'operator.admin',
      write: true,
      params: Type.Object(apply, { additionalProperties: false }),
      handler: (params) => replace(deps, params)
    }),
    defineMethod({
      name: 'config.patch',
      scope: 'operator.admin',
      write: true,
      params: Type.Object(
        { ...apply, replacePaths: Type.Optional(Type.Array(Filled, { maxItems: 256 })) },
        { additionalProperties: false }
      ),
      handler: (params) => patch(deps, params)
    }),
    defineMethod({
      // Ours: applies the file as it is, and says what that came to.
      name: 'config.reload',
      scope: 'operator.admin',
      write: true,
      params: Type.Object({ force: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
      handler({ force = false }) {
        if (force || deps.reloader()?.state.mode !== 'off') return reload(deps)
        throw invalidRequest('gateway.reload.mode is off: edits take effect when the gateway is restarted')
      }
    }),
    defineMethod({
      name: 'secrets.reload',
      scope: 'operator.admin',
      write: true,
      params: Empty,
      async handler() {
        await reload(deps)
        return { ok: true, warningCount: 0 }
      }
    }),
    defineMethod({ name: 'config.schema', scope: 'operator.read', params: Empty, handler: () => schema(deps) }),
    defineMethod({
      name: 'config.schema.lookup',
      scope: 'operator.read',
      params: Type.Object(
        { path: Type.String({ minLength: 1, maxLength: 1024, pattern: '^[A-Za-z0-9_./\\[\\]\\-*]+$' }) },
        { additionalProperties: false }
      ),
      handler: ({ path }) => lookup(path)
    })
  ]
}

async function get({ paths, env }: ConfigMethodDeps): Promise<Record<string, unknown>> {
  const { readSnapshot } = await import('../../config/snapshot.ts')
  const { config, ...snapshot } = readSnapshot(paths, env)
  return {
    ...snapshot,
    includeProvenance: [],
    agentRosterIncludeOwned: false,
    bindingsIncludeOwned: false,
    sourceConfig: config,
    resolved: config,
    runtimeConfig: config,
    config,
    legacyIssues: [],
    configRevisionHash: snapshot.hash,
    appliedConfigHash: snapshot.hash
  }
}

async function replace(deps: ConfigMethodDeps, params: { raw: string; baseHash?: string }) {
  const { restoreText } = await import('../../config/redact.ts')
  return change(deps, params.baseHash, (_base, source) => restoreText(params.raw, source.raw))
}

async function patch(deps: ConfigMethodDeps, params: { raw: string; baseHash?: string; replacePaths?: string[] }) {
  const [{ restoreValue }, { settleLists }, { patchText }, { default: JSON5 }, { isObject }] = await Promise.all([
    import('../../config/redact.ts'),
    import('../../config/merge-patch.ts'),
    import('../../config/edit.ts'),
    import('json5'),
    import('../../config/key-path.ts')
  ])
  return change(deps, params.baseHash, (base, source) => {
    const given: unknown = JSON5.parse(params.raw)
    if (!isObject(given)) throw new RangeError('the patch must be an object')
    const restored = restoreValue(given, source.authored)
    return patchText(base, settleLists(restored, source.authored, new Set(params.replacePaths)))
  })
}

async function change(
  deps: ConfigMethodDeps,
  baseHash: string | undefined,
  edit: (base: string, source: ConfigSource) => string
): Promise<Record<string, unknown>> {
  const { paths, env } = deps
  const [{ changeConfig }, { startRefusal }, { revisionOf }, { redactValue }, { changedPaths }] = await Promise.all([
    import('../../config/change.ts'),
    import('../../auth/bind-policy.ts'),
    import('../../config/snapshot.ts'),
    import('../../config/redact.ts'),
    import('../../config/merge-patch.ts')
  ])
  const expect = (source: ConfigSource) => {
    if (!source.exists) return
    if (baseHash === undefined) throw stale('config base hash required; re-run config.get and retry')
    if (baseHash !== revisionOf(source.raw)) {
      throw stale('config changed since last load; re-run config.get and retry')
    }
  }
  let changed: Changed
  try {
    changed = await changeConfig({ paths, env, check: startRefusal, edit, expect })
  } catch (error) {
    throw await refusal(error)
  }
  const hash = revisionOf(changed.after.raw)
  if (changed.changed) {
    const reloader = deps.reloader()
    if (reloader?.state.mode === 'hybrid') await reloader.now()
    const differing = changedPaths(changed.before.authored, changed.after.authored)
    deps.log.info({ path: paths.configPath, changed: differing }, 'configuration changed')
    deps.publish('config.changed', { path: paths.configPath, hash, ts: Date.now() })
  }
  return {
    ok: true,
    path: paths.configPath,
    hash,
    config: redactValue(changed.after.expanded),
    changedPaths: changedPaths(changed.before.expanded, changed.after.expanded)
  }
}

async function reload(deps: ConfigMethodDeps): Promise<ReloadOutcome & { ok: true }> {
  const outcome = await deps.reloader()?.now()
  if (outcome === undefined) throw new RpcError('UNAVAILABLE', 'this gateway reads its configuration at the start only')
  if (!outcome.ok) throw invalidRequest(outcome.message, { code: 'CONFIG_NOT_APPLIED', fix: outcome.fix })
  return outcome
}

function stale(message: string): RpcError {
  return invalidRequest(message, { code: 'CONFIG_STALE', recommendedNextStep: 'config.get' })
}

async function refusal(error: unknown): Promise<unknown> {
  const { ConfigError } = await import('../../config/errors.ts')
  if (error instanceof ConfigError) {
    const issues = error.issues.length > 0 ? error.issues : [{ path: '', message: error.message }]
    return invalidRequest(error.message, { code: error.code, issues, fix: error.fix })
  }
  // JSON5 and the edits say what is wrong with what the caller sent.
  if (error instanceof SyntaxError || error instanceof RangeError || error instanceof TypeError) {
    return invalidRequest(`invalid config: ${error.message}`, {
      code: 'CONFIG_INVALID',
      issues: [{ path: '', message: error.message }]
    })
  }
  return error
}

async function schema({ version }: ConfigMethodDeps): Promise<Record<string, unknown>> {
  const { fileSchema, uiHints } = await import('../../config/schema-view.ts')
  return { schema: fileSchema(), uiHints: uiHints(), version, generatedAt: new Date().toISOString() }
}

async function lookup(path: string): Promise<Record<string, unknown>> {
  const { lookUp } = await import('../../config/schema-view.ts')
  const found = lookUp(path)
  if (found === undefined) throw invalidRequest(`config schema path not found: ${path}`)
  return found
}
