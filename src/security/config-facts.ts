import { formatKeyPath, isObject, type KeyPath, valueAt } from '../config/key-path.ts'
import { isSecretPath } from '../config/redact.ts'
import { isSecretRef } from '../config/secrets.ts'
import type { ConfigSource } from '../config/source.ts'
import { isReference } from './secret-facts.ts'

/** An accepted finding, `security.audit.suppressions[]`. */
export interface Suppression {
  checkId: string
  titleIncludes?: string
  detailIncludes?: string
  reason?: string
}

/** What the file says beside the resolved settings. */
export interface ConfigFacts {
  /** Reports whether a key of the `gateway` section is written out. */
  written: { autoApproveLocal: boolean; authToken: boolean; authPassword: boolean; userHeader: boolean }
  /** Keys whose secret stands in the file as text. */
  plainSecrets: readonly string[]
  /** Switches that say themselves that they are dangerous, or are known to be. */
  flags: readonly { key: string; value: string }[]
  /** `gateway.nodes.commands` and `gateway.nodes.pairing.autoApproveCidrs`. */
  nodes: { allow: readonly string[]; deny: readonly string[]; cidrs: readonly string[] }
  suppressions: readonly Suppression[]
}

/** Looks through the whole file, the sections of others included; bounded in depth and number. */
export function configFacts(source: ConfigSource | undefined): ConfigFacts {
  const root = source?.value ?? {}
  const plainSecrets: string[] = []
  const flags: { key: string; value: string }[] = []
  walk(source?.expanded ?? {}, [], (value, path) => {
    if (flags.length < MAX && isDangerous(value, path)) flags.push({ key: formatKeyPath(path), value: shown(value) })
    if (plainSecrets.length < MAX && isPlainSecret(value, path)) plainSecrets.push(formatKeyPath(path))
  })
  const has = (path: string) => valueAt(root, path.split('.')) !== undefined
  return {
    written: {
      autoApproveLocal: has('gateway.nodes.pairing.autoApproveLocal'),
      authToken: has('gateway.auth.token'),
      authPassword: has('gateway.auth.password'),
      userHeader: has('gateway.auth.trustedProxy.userHeader')
    },
    plainSecrets,
    flags,
    nodes: {
      allow: texts(valueAt(root, ['gateway', 'nodes', 'commands', 'allow'])),
      deny: texts(valueAt(root, ['gateway', 'nodes', 'commands', 'deny'])),
      cidrs: texts(valueAt(root, ['gateway', 'nodes', 'pairing', 'autoApproveCidrs']))
    },
    suppressions: suppressionsOf(valueAt(root, ['security', 'audit', 'suppressions']))
  }
}

const MAX = 100
const MAX_DEPTH = 32

function walk(value: unknown, path: KeyPath, see: (value: unknown, path: KeyPath) => void): void {
  see(value, path)
  // What is inside a reference names a secret, and is none.
  if (path.length > MAX_DEPTH || value === null || typeof value !== 'object' || isSecretRef(value)) return
  const entries: [string | number, unknown][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  for (const [key, child] of entries) walk(child, [...path, key], see)
}

function shown(value: unknown): string {
  return typeof value === 'object' ? '{…}' : JSON.stringify(value).slice(0, 80)
}

// Switches without the word in their name.
const UNSAFE: readonly [RegExp, unknown][] = [
  [/^hooks\.(gmail|mappings\[\d+\])\.allowUnsafeExternalContent$/, true],
  [/(^|\.)tools\.exec\.applyPatch\.workspaceOnly$/, false],
  [/^plugins\.entries\.acpx\.config\.permissionMode$/, 'approve-all']
]

function isDangerous(value: unknown, path: KeyPath): boolean {
  const name = path.at(-1)
  if (typeof name !== 'string') return false
  if (/^dangerous(ly)?([A-Z]|$)/.test(name)) return value !== false && value !== null
  return UNSAFE.some(([pattern, unsafe]) => value === unsafe && pattern.test(formatKeyPath(path)))
}

function isPlainSecret(value: unknown, path: KeyPath): boolean {
  return typeof value === 'string' && value !== '' && isSecretPath(path) && !isReference(value)
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

function suppressionsOf(value: unknown): Suppression[] {
  if (!Array.isArray(value)) return []
  return value.flatMap((item) => {
    if (!isObject(item) || typeof item.checkId !== 'string') return []
    const { checkId, titleIncludes, detailIncludes, reason } = item
    return [
      {
        checkId,
        ...(typeof titleIncludes === 'string' ? { titleIncludes } : {}),
        ...(typeof detailIncludes === 'string' ? { detailIncludes } : {}),
        ...(typeof reason === 'string' ? { reason } : {})
      }
    ]
  })
}
