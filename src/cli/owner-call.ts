import { setTimeout as sleep } from 'node:timers/promises'
import type { Scope } from '../protocol/scopes.ts'
import { parseTimeout, placesOf, type TargetOptions, withGateway } from './gateway-call.ts'
import { CliError, type Io } from './io.ts'
import type { Ask, OfflineState } from './offline.ts'

/** How a command reached the state of a gateway. */
export interface Way {
  ask: Ask
  /** Reports whether the caller proved to own the host's files. */
  owner: boolean
}

/** How long these commands wait for a gateway, in milliseconds. */
export const TIMEOUT_MS = 10_000

// A gateway that starts or stops holds its state for a moment without answering.
const PATIENCE_MS = 3_000
const LOOK_MS = 150

/**
 * Runs work on the gateway that flags, environment and file name; on this host also while it is stopped, and whatever its
 * configuration says: whoever owns the host's files gets in.
 */
export async function asOwner<T>(
  io: Io,
  options: TargetOptions,
  scopes: readonly Scope[],
  work: (way: Way) => Promise<T>
): Promise<T> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    let reached = false
    try {
      return await withGateway(io, options, { scopes, timeoutMs, waits: false }, ({ client, endpoint }) => {
        reached = true
        const ask: Ask = (method, params = {}) => client.request(method, params, { timeoutMs })
        return work({ ask, owner: endpoint.kind === 'socket' })
      })
    } catch (error) {
      if (reached || !(await meansThisHost(io, options))) throw error
      const { openOffline } = await import('./offline.ts')
      const { stateDir } = placesOf(io).paths
      const state = await openOffline(stateDir)
      if (state === undefined) throw error
      if ('ask' in state) return await workOffline(io, state, stateDir, work)
      if (Date.now() > deadline) throw silent(stateDir, state.heldBy, error)
    }
    await sleep(LOOK_MS)
  }
}

async function workOffline<T>(
  io: Io,
  { ask, close }: OfflineState,
  stateDir: string,
  work: (way: Way) => Promise<T>
): Promise<T> {
  io.stderr(`note: no gateway runs here; working on ${stateDir} itself`)
  try {
    return await work({ ask, owner: true })
  } catch (error) {
    const [{ RpcError }, { GatewayError }, { explain }] = await Promise.all([
      import('../protocol/errors.ts'),
      import('../client/core.ts'),
      import('./explain.ts')
    ])
    throw error instanceof RpcError ? explain(GatewayError.from(error.toShape())) : error
  } finally {
    close()
  }
}

/**
 * Reports whether a command means the gateway of this host: it does unless something says otherwise. A configuration that
 * cannot be read says nothing.
 */
export async function meansThisHost(io: Io, { url, port, token, password }: TargetOptions): Promise<boolean> {
  if ([url, port, token, password].some((given) => given !== undefined)) return false
  const { paths, env } = placesOf(io)
  if (env.OPENCLAW_GATEWAY_URL?.trim()) return false
  const { loadConfig } = await import('../config/load.ts')
  const config = await loadConfig({ env, paths, client: true }).catch(() => undefined)
  return config?.gateway.mode !== 'remote'
}

function silent(stateDir: string, heldBy: number | undefined, cause: unknown): CliError {
  const who = heldBy === undefined ? 'another process' : `a process (pid ${heldBy})`
  return new CliError('GATEWAY_SILENT', `${who} holds ${stateDir}, and no gateway answers`, {
    fix: 'openclaw doctor',
    cause
  })
}
