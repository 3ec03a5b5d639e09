import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Caller } from '../rpc/method.ts'
import { CliError } from './io.ts'

/** Calls a method and resolves with its result. */
export type Ask = <T>(method: string, params?: unknown) => Promise<T>

/** The state of a gateway that does not run, held by this process until it is closed. */
export interface OfflineState {
  ask: Ask
  close(): void
}

/**
 * Opens the state of this host's gateway while none runs: the same methods over the same store, called by its owner, under
 * the gateway's own lock. Says who holds the lock when somebody does; undefined where no gateway has run yet.
 */
export async function openOffline(
  stateDir: string
): Promise<OfflineState | { heldBy: number | undefined } | undefined> {
  const file = join(stateDir, 'gateway.sqlite')
  if (!existsSync(file)) return undefined
  const { lockState } = await import('../store/lock.ts')
  const lock = lockState(stateDir, process.pid)
  if ('heldBy' in lock) return lock
  try {
    const [{ openDatabase }, { DeviceStore }, { Trail }, { PairingNews }, { Hub }, rpc, ...families] =
      await Promise.all([
        import('../store/database.ts'),
        import('../store/devices.ts'),
        import('../store/trail.ts'),
        import('../devices/news.ts'),
        import('../rpc/hub.ts'),
        import('../rpc/dispatch.ts'),
        import('../rpc/methods/devices.ts'),
        import('../rpc/methods/device-tokens.ts')
      ])
    const { Registry } = await import('../rpc/registry.ts')
    const db = openDatabase(file)
    const devices = new DeviceStore(db)
    const trail = new Trail(db, { error: () => {} })
    const news = new PairingNews({
      publish: () => {},
      record: (event) => trail.record(event),
      connected: () => new Set()
    })
    const deps = { devices, trail, news, hub: new Hub() }
    const [{ deviceMethods }, { deviceTokenMethods }] = families
    const registry = new Registry([...deviceMethods(deps), ...deviceTokenMethods(deps)])
    return {
      ask: async (method, params) => (await rpc.call(registry, { method, params }, OWNER)) as never,
      close() {
        trail.close()
        db.close()
        lock.release()
      }
    }
  } catch (error) {
    lock.release()
    const { NewerSchemaError } = await import('../store/database.ts')
    if (error instanceof NewerSchemaError) throw new CliError('STATE_NEWER', error.message, { cause: error })
    throw error
  }
}

// Whoever holds the lock can read and write the state itself: the same authority as at the owner's socket.
const OWNER: Caller = {
  connId: 'offline',
  surface: 'websocket',
  role: 'operator',
  scopes: new Set(['operator.admin']),
  client: { id: 'cli', mode: 'cli', version: '0', platform: process.platform },
  declared: undefined,
  owner: true,
  method: 'owner',
  deviceId: undefined,
  token: undefined,
  user: undefined,
  address: 'local',
  entry: {
    method: 'owner',
    user: undefined,
    origin: undefined,
    ingress: {
      listener: 'local',
      peer: '',
      client: 'local',
      forwarded: false,
      local: true,
      host: undefined,
      claims: undefined,
      cap: undefined
    }
  },
  footing: 'owner'
}
