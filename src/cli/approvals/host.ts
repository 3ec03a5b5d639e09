import type { ApprovalsSnapshot } from '../../approvals/document.ts'
import type { Approvals } from '../../approvals/schema.ts'
import { findNode, type NodeEntry, nodeName } from '../find-node.ts'
import { parseTimeout, placesOf, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'

/** Whose exec approvals a command is about; without either, those of this host. */
export interface HostOptions extends TargetOptions {
  gateway?: boolean
  node?: string
}

/** What a node shows that has a policy of another kind. */
export interface NativePolicy {
  enabled: boolean
  hash?: string
  defaultAction?: string
  rules?: readonly { pattern: string; action: string }[]
  message?: string
}

/** What a host shows of its policy. */
export type HostSnapshot = ApprovalsSnapshot | NativePolicy

/** A host whose exec approvals can be read and changed. */
export interface Host {
  name: string
  read(): Promise<HostSnapshot>
  /** Replaces the document with the one in a text; `name` is where the text came from. */
  replace(text: string, name: string): Promise<HostSnapshot>
  /** Changes the document as it stands; where the change gives undefined, nothing is written. */
  change(edit: (current: Approvals) => Approvals | undefined): Promise<ApprovalsSnapshot>
}

/** How long these commands wait for a gateway, in milliseconds. */
export const TIMEOUT_MS = 10_000

type Ask = <T>(method: string, params: object) => Promise<T>

/** Runs work on the exec approvals of the host that flags name. */
export async function withHost<T>(io: Io, options: HostOptions, work: (host: Host) => Promise<T>): Promise<T> {
  const { gateway = false, node } = options
  if (gateway && node !== undefined) {
    throw new CliError('USAGE', '--gateway and --node exclude each other', { fix: 'openclaw approvals get --gateway' })
  }
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  if (!gateway && node === undefined) return work(await localHost(io, options))
  return withGateway(io, options, { scopes: ['operator.admin'], timeoutMs }, async ({ client }) => {
    const ask: Ask = (method, params) => client.request(method, params, { timeoutMs })
    if (node === undefined) return work(remoteHost('the gateway', ask, 'exec.approvals', {}))
    const { nodes = [] } = await ask<{ nodes?: NodeEntry[] }>('node.list', {})
    const found = findNode(nodes, node, true)
    const { nodeId } = found
    return work(remoteHost(`node ${nodeName(found)}`, ask, 'exec.approvals.node', { nodeId }))
  })
}

// The file itself, whether a gateway runs or not: both read it each time.
async function localHost(io: Io, options: HostOptions): Promise<Host> {
  const stray = (['url', 'port', 'token', 'password'] as const).find((name) => options[name] !== undefined)
  if (stray !== undefined) {
    throw new CliError('USAGE', `--${stray} is for the exec approvals of a gateway or a node, not of this host`, {
      fix: 'add --gateway, or --node NAME'
    })
  }
  const { approvalsPath, changeApprovals, readSnapshot, replaceApprovals } = await import('../../approvals/file.ts')
  const path = approvalsPath(placesOf(io).paths.stateDir)
  return {
    name: 'this host',
    read: () => readSnapshot(path),
    replace: async (text, name) => replaceApprovals(path, await checked(await parse(text, name), name, text), REPAIR),
    change: (edit) => changeApprovals(path, edit)
  }
}

// Whoever owns the file may also mend it.
const REPAIR = { repair: true }

function remoteHost(name: string, ask: Ask, family: string, whose: { nodeId?: string }): Host {
  const read = () => ask<HostSnapshot>(`${family}.get`, whose)
  const write = <T>(policy: object, baseHash: string) => ask<T>(`${family}.set`, { ...whose, ...policy, baseHash })
  return {
    name,
    read,
    async replace(text, source) {
      const document = await parse(text, source)
      const current = await read()
      // What somebody else writes in between is refused by its hash.
      if (!isNative(current)) return write({ file: await checked(document, source, text) }, current.hash)
      if (current.enabled && current.hash !== undefined) return write({ native: document as object }, current.hash)
      throw new CliError('NODE_POLICY_OFF', `${name} has its policy turned off`, { fix: `turn it on at ${name}` })
    },
    async change(edit) {
      const current = documentOf(await read(), name)
      const next = edit(current.file)
      return next === undefined ? current : write({ file: next }, current.hash)
    }
  }
}

/** Reports whether a policy is of a node's own kind. */
export function isNative(snapshot: HostSnapshot): snapshot is NativePolicy {
  return 'enabled' in snapshot
}

/** The snapshot of a host that has a document; throws for a node with a policy of its own kind. */
export function documentOf(snapshot: HostSnapshot, name: string): ApprovalsSnapshot {
  if (!isNative(snapshot)) return snapshot
  throw new CliError('NODE_POLICY_NATIVE', `${name} has a policy of its own kind, without an allowlist`, {
    fix: 'openclaw approvals set --node NAME --file FILE'
  })
}

async function checked(document: unknown, name: string, text: string): Promise<Approvals> {
  const { checkApprovals } = await import('../../approvals/document.ts')
  return checkApprovals(document, name, text)
}

async function parse(text: string, name: string): Promise<unknown> {
  const { default: JSON5 } = await import('json5')
  try {
    const value: unknown = JSON5.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (cause) {
    const why = (cause as Error).message.replace(/^JSON5: /, '')
    throw new CliError('APPROVALS_INVALID', `${name} is not JSON5: ${why}`, { fix: EXAMPLE, cause })
  }
  throw new CliError('APPROVALS_INVALID', `${name} is not an object`, { fix: EXAMPLE })
}

const EXAMPLE = `echo '{ version: 1, defaults: { security: "allowlist", ask: "on-miss" } }' | openclaw approvals set --stdin`
