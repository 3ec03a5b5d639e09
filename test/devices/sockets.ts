import assert from 'node:assert/strict'
import type { Test } from 'tap'
import type { DeviceStore } from '../../src/store/devices.ts'
import { RawClient, type TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'
import type { Answer, Arrived, Gateway, Place, Who } from './parts.ts'

type Json = Record<string, unknown>

const auth = { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 100_000, exemptLoopback: false } }
const AWAY = 'https://gateway.example'

/** A whole gateway, with its sockets, and the clock of the machine. */
export class Sockets implements Gateway {
  readonly #app: TestApp
  readonly #listener: RawClient
  readonly #clients = new Map<Who, RawClient>()

  private constructor(app: TestApp, listener: RawClient) {
    this.#app = app
    this.#listener = listener
  }

  /** Starts one. */
  static async open(t: Test): Promise<Sockets> {
    const app = await startApp(t, { local: true, gateway: { auth, publicOrigin: AWAY, trustedProxies: ['127.0.0.1'] } })
    const listener = await RawClient.open(`ws+unix://${app.localSocket}:/`)
    await listener.connect()
    return new Sockets(app, listener)
  }

  get now(): number {
    return Date.now()
  }

  get devices(): DeviceStore {
    return this.#app.app.devices
  }

  async connect(place: Place, more: Json, device?: TestDevice): Promise<Answer<Arrived>> {
    const page = /control-ui|webchat/.test((more.client as { id: string }).id)
    const origin = page ? { origin: place === 'away' ? AWAY : this.#app.http } : {}
    const headers = place === 'away' ? { headers: { 'x-forwarded-for': '203.0.113.9' } } : {}
    const url = place === 'owner' ? `ws+unix://${this.#app.localSocket}:/` : this.#app.ws
    const client = await RawClient.open(url, { ...headers, ...origin })
    const { payload, error } = await client.connect(more, device)
    if (payload === undefined) {
      await client.closed
      return { ok: false, message: error?.message ?? '', details: error?.details ?? {} }
    }
    const { role, scopes, method, deviceToken, deviceTokens = [] } = payload.auth
    const caller: Who = { role, scopes: new Set(scopes), method, deviceId: device?.id }
    this.#clients.set(caller, client)
    return {
      ok: true,
      value: {
        caller,
        deviceToken: deviceToken === undefined ? undefined : { value: deviceToken },
        handed: deviceTokens.map(({ deviceToken: value, ...token }) => ({ ...token, value }))
      }
    }
  }

  async call<T = Json>(by: Who, method: string, params: Json = {}): Promise<Answer<T>> {
    const { ok, payload, error } = await this.#clients.get(by)!.call(method, params)
    if (ok) return { ok, value: payload as T }
    return { ok: false, message: error?.message ?? '', details: error?.details ?? {} }
  }

  async events(): Promise<readonly { event: string; payload: Json }[]> {
    await this.settled()
    return this.#listener.events.map(({ event, payload = {} }) => ({ event, payload }))
  }

  async rows(): Promise<Json> {
    const all = await this.devices.list()
    return {
      devices: all.map(({ deviceId, grants, tokens }) => [deviceId, grants, tokens.length]),
      requests: (await this.devices.requests()).map(({ requestId }) => requestId)
    }
  }

  /** What happened before a call is heard of before its answer. */
  async settled(): Promise<void> {
    const living = [...this.#clients.values()].filter(({ socket }) => socket.readyState === socket.OPEN)
    await Promise.all([this.#listener, ...living].map((client) => client.call('health').catch(() => undefined)))
  }

  async ended(deviceId: string): Promise<void> {
    for (const [who, client] of this.#clients) {
      if (who.deviceId !== deviceId) continue
      assert.deepEqual(await client.closed, { code: 4001, reason: 'device removed' }, 'S14: its sockets end')
      this.#clients.delete(who)
    }
  }

  async pass(): Promise<void> {
    throw new Error('the clock is the machine’s')
  }

  async restart(): Promise<void> {
    throw new Error('it goes on')
  }

  async end(): Promise<void> {
    await Promise.all([this.#listener, ...this.#clients.values()].map((client) => client.close()))
    this.#clients.clear()
  }
}
