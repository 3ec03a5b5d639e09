import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import type { Access } from '../../src/auth/access.ts'
import { Authenticator } from '../../src/auth/authenticate.ts'
import { JoinLinks } from '../../src/devices/join.ts'
import { PairingNews } from '../../src/devices/news.ts'
import { expireRequests } from '../../src/devices/requests.ts'
import { RpcError } from '../../src/protocol/errors.ts'
import type { ConnectParams } from '../../src/protocol/frames.ts'
import type { Role, Scope } from '../../src/protocol/scopes.ts'
import type { Connection } from '../../src/rpc/connection.ts'
import { call } from '../../src/rpc/dispatch.ts'
import { admit, type HandshakeDeps } from '../../src/rpc/handshake.ts'
import { Hub } from '../../src/rpc/hub.ts'
import type { Caller } from '../../src/rpc/method.ts'
import { deviceTokenMethods } from '../../src/rpc/methods/device-tokens.ts'
import { deviceMethods } from '../../src/rpc/methods/devices.ts'
import { setupMethods } from '../../src/rpc/methods/setup-codes.ts'
import { upgradeMethods } from '../../src/rpc/methods/upgrades.ts'
import { Registry } from '../../src/rpc/registry.ts'
import { openDatabase } from '../../src/store/database.ts'
import { DeviceStore } from '../../src/store/devices.ts'
import { SetupCodeStore } from '../../src/store/setup-codes.ts'
import { Trail } from '../../src/store/trail.ts'
import { accessOf, ingressOf, nobody } from '../support/access.ts'
import { connectParams, type TestDevice } from '../support/client.ts'
import { TOKEN } from '../support/gateway.ts'

type Json = Record<string, unknown>

/** Where a connection comes from: this host, another one, or the owner's socket. */
export type Place = 'here' | 'away' | 'owner'

/** What came of a handshake or a call. */
export type Answer<T> = { ok: true; value: T } | { ok: false; message: string; details: Json }

/** Who calls, as a test knows them. */
export type Who = Pick<Caller, 'role' | 'scopes' | 'deviceId' | 'method'>

/** What a caller was let in with. */
export interface Arrived {
  caller: Who
  deviceToken: { value: string } | undefined
  handed: readonly { role: Role; scopes: Scope[]; value: string }[]
}

/** A gateway whose pairing is under test, with sockets or without. */
export interface Gateway {
  readonly now: number
  readonly devices: DeviceStore
  connect(place: Place, more: Json, device?: TestDevice): Promise<Answer<Arrived>>
  call<T = Json>(by: Who, method: string, params?: Json): Promise<Answer<T>>
  /** Everything that operators have heard of. */
  events(): Promise<readonly { event: string; payload: Json }[]>
  /** How much of each kind there is in the store. */
  rows(): Promise<Json>
  /** Waits until those who wait for something that happened have heard of it. */
  settled(): Promise<void>
  /** Waits until the connections of a device whose access changed have ended. */
  ended(deviceId: string): Promise<void>
  pass(ms: number): Promise<void>
  restart(): Promise<void>
  /** Ends this life. */
  end(): Promise<void>
}

const PLACES = {
  here: ingressOf(),
  away: ingressOf({ peer: '203.0.113.9', client: '203.0.113.9', local: false, host: 'gateway.example' }),
  owner: ingressOf({ listener: 'local', peer: '', client: 'local', host: undefined })
}
const PAGES: Record<Place, string> = {
  here: 'http://127.0.0.1:18789',
  away: 'https://gateway.example',
  owner: 'http://127.0.0.1:18789'
}

/**
 * The parts of a gateway that pairing is made of: the handshake, the methods and SQLite, as the gateway puts them
 * together, without sockets between them and with a clock that the test holds.
 */
export class Parts implements Gateway {
  now = 1_800_000_000_000
  #events: { event: string; payload: Json }[] = []
  devices!: DeviceStore
  codes!: SetupCodeStore
  news!: PairingNews
  #db!: DatabaseSync
  #trail!: Trail
  #registry!: Registry
  #handshake!: HandshakeDeps
  readonly #access: Access
  readonly #dir: string

  private constructor(access: Access, dir: string) {
    this.#access = access
    this.#dir = dir
    this.#open()
  }

  /** Puts the parts together over a database of their own; where there is one, on a file system in memory. */
  static async open(memory?: string, gateway: Json = {}): Promise<Parts> {
    const access = await accessOf({
      auth: { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 10_000_000, exemptLoopback: false } },
      publicOrigin: 'https://gateway.example',
      ...gateway
    })
    return new Parts(access, mkdtempSync(join(memory ?? tmpdir(), 'oc-')))
  }

  /** Stops and starts again: what is not in the database is gone. */
  async restart(): Promise<void> {
    this.news.stop()
    this.#trail.close()
    this.#db.close()
    this.#open()
  }

  /** Forgets everything, as if it ran for the first time. */
  async end(): Promise<void> {
    this.news.stop()
    this.#events = []
    this.#db.exec('DELETE FROM device; DELETE FROM device_request; DELETE FROM setup_code')
  }

  close(): void {
    this.#trail.close()
    this.#db.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** Lets time pass, and the gateway look at the clock. */
  async pass(ms: number): Promise<void> {
    this.now += ms
    await expireRequests(this.devices, this.news)
  }

  /** Connects as the handshake of a socket does. */
  async connect(place: Place, more: Json, device?: TestDevice): Promise<Answer<Arrived>> {
    const params: ConnectParams = connectParams(more)
    const page = /control-ui|webchat/.test(params.client.id)
    const nonce = randomUUID()
    if (device !== undefined) params.device = device.claim(params, nonce)
    const connection = { id: nonce, nonce, ingress: PLACES[place], origin: page ? PAGES[place] : undefined }
    return answer(() => admit(params, connection as unknown as Connection, this.#handshake))
  }

  /** Calls a method. */
  async call<T = Json>(by: Who, method: string, params: Json = {}): Promise<Answer<T>> {
    return answer(async () => (await call(this.#registry, { method, params }, by as Caller)) as T)
  }

  async events(): Promise<readonly { event: string; payload: Json }[]> {
    return this.#events
  }

  async settled(): Promise<void> {
    await new Promise(setImmediate)
  }

  async ended(): Promise<void> {}

  async rows(): Promise<Json> {
    const counts = ['device', 'device_grant', 'device_token', 'device_request', 'setup_code'].map(
      (table) => `(SELECT count(*) FROM ${table}) AS ${table}`
    )
    return { ...this.#db.prepare(`SELECT ${counts}`).get() }
  }

  #open(): void {
    this.#db = openDatabase(join(this.#dir, 'gateway.sqlite'))
    const clock = () => this.now
    const devices = new DeviceStore(this.#db, clock)
    const codes = new SetupCodeStore(this.#db, clock)
    const trail = new Trail(this.#db, { error: (_what: unknown, text?: string) => assert.fail(text) })
    this.#trail = trail
    const hub = new Hub()
    const news = new PairingNews({
      publish: (event, payload) => this.#events.push({ event, payload: payload as Json }),
      record: (event) => trail.record(event),
      connected: () => new Set()
    })
    this.devices = devices
    this.codes = codes
    this.news = news
    const pairing = { devices, news, hub, trail }
    this.#registry = new Registry([
      ...deviceMethods(pairing),
      ...deviceTokenMethods(pairing),
      ...upgradeMethods(pairing),
      ...setupMethods({
        codes,
        devices,
        trail,
        links: new JoinLinks(),
        auth: () => 'token',
        whereabouts: () => ({
          gateway: this.#access.gateway,
          tailnetUrl: undefined,
          fingerprint: undefined,
          addresses: []
        })
      })
    ])
    const issued = {
      findToken: (digest: Buffer) => devices.findToken(digest),
      presentCode: (digest: Buffer, deviceId: string) => codes.present(digest, deviceId),
      findNamedToken: async () => undefined,
      namedTokenUsed: () => {}
    }
    const access = () => this.#access
    this.#handshake = { authenticator: new Authenticator(access, issued, nobody), devices, news, access }
  }
}

async function answer<T>(work: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { ok: true, value: await work() }
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    const { message, details } = error.toShape()
    return { ok: false, message, details: (details ?? {}) as Json }
  }
}
