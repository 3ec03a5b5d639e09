import { isScope, type Role } from '../../src/protocol/scopes.ts'
import { SETUP_PROFILES, type SetupAccess } from '../../src/protocol/setup.ts'
import type { Place } from './parts.ts'

/** What a device says when it connects. */
export interface Connect {
  deviceId: string
  client: ClientKind
  role: Role
  scopes: readonly string[]
  platform: string
  place: Place
  show: Shown
}

/** What it shows to be let in. */
export type Shown = 'nothing' | 'secret' | { token: string } | { code: string }

/** The programs that pairing tells apart. */
export type ClientKind = 'cli' | 'page' | 'node' | 'phone' | 'probe'

/** A caller of methods: which scopes it holds, and which device it is. */
export interface Actor {
  scopes: ReadonlySet<string>
  deviceId: string | undefined
}

/** What a device was approved for in one role; undefined once that was revoked. */
type Grant = Set<string> | undefined

interface Known {
  platform: string
  grants: Map<Role, Grant>
}

interface Waiting {
  requestId: string
  roles: Set<Role>
  scopes: Set<string>
  platform: string
  at: number
}

interface Code {
  access: SetupAccess
  scopes: ReadonlySet<string>
  until: number
  boundTo: string | undefined
  spent: boolean
}

/** What the rules of pairing say comes of a connection. */
export type Verdict =
  | { in: Set<string>; token: 'fresh' | 'own' | 'none'; handed?: Set<string> }
  | { refused: string; reason?: string; again?: string | undefined }

const TTL_MS = 5 * 60_000
const MAX_TOKENS = 8

/** Pairing as its rules have it (§2.3 to §2.5), in plain sets: what the gateway must agree with after each step. */
export class Expected {
  readonly devices = new Map<string, Known>()
  readonly waiting = new Map<string, Waiting>()
  readonly codes = new Map<string, Code>()
  /** The tokens that are good, by device and role, the newest last; a token that nobody was handed is undefined. */
  readonly #live = new Map<string, (string | undefined)[]>()
  /** Every token that anybody was ever handed. */
  readonly #handed = new Map<string, { deviceId: string; role: Role }>()

  connect(ask: Connect, now: number): Verdict {
    const { deviceId, role, platform, place, client, show } = ask
    const asked = new Set(role === 'operator' ? ask.scopes.filter(isScope) : [])
    const probe = client === 'probe'
    const secret = show === 'secret' || place === 'owner'
    if (show === 'nothing' && !secret) return { refused: 'AUTH_TOKEN_MISSING' }
    const code = typeof show === 'object' && 'code' in show && !secret ? show.code : undefined
    if (code !== undefined) return probe ? { refused: 'AUTH_TOKEN_MISSING' } : this.#redeem(ask, code, asked, now)
    const token = typeof show === 'object' && 'token' in show && !secret ? show.token : undefined
    if (token !== undefined && !this.#isGood(token, deviceId, role)) return { refused: 'AUTH_DEVICE_TOKEN_MISMATCH' }

    const known = this.devices.get(deviceId)
    if (known !== undefined && known.platform !== platform) return this.#ask(ask, now)
    const held = known?.grants.get(role)
    if (token !== undefined)
      return covers(held!, asked) ? { in: asked, token: 'own' } : { refused: 'AUTH_SCOPE_MISMATCH' }
    if (held !== undefined && covers(held, asked)) {
      if (!probe) this.issue(deviceId, role)
      return { in: asked, token: probe ? 'none' : 'fresh' }
    }
    if (place === 'away' || (role === 'node' && ask.scopes.length > 0)) return this.#ask(ask, now)
    if (probe) return { in: asked, token: 'none' }
    this.#enrol(ask, new Map([[role, asked]]))
    return { in: asked, token: 'fresh' }
  }

  /** Reports whether what a device shows is good for something. */
  believes({ show, deviceId, role, place }: Connect, now: number): boolean {
    if (typeof show === 'string' || place === 'owner') return true
    if ('token' in show) return this.#isGood(show.token, deviceId, role)
    const { spent, until, boundTo = deviceId } = this.codes.get(show.code)!
    return !spent && until > now && boundTo === deviceId
  }

  /** Reports whether a person may approve what waits, and does so. */
  approve(deviceId: string, by: Actor): boolean {
    const { roles, scopes } = this.waiting.get(deviceId)!
    return this.#letIn(deviceId, roles, scopes, by)
  }

  /** Reports whether a device may be given more by an admin, and gives it. */
  grant(deviceId: string, scopes: readonly string[], by: Actor): boolean {
    const request = this.waiting.get(deviceId)
    if (!by.scopes.has('operator.admin') || (request ?? this.devices.get(deviceId)) === undefined) return false
    return this.#letIn(deviceId, [...(request?.roles ?? []), 'operator'], [...(request?.scopes ?? []), ...scopes], by)
  }

  /** Reports whether tokens may be replaced, and replaces them; a device may only touch itself (S12). */
  rotate(deviceId: string, role: Role, scopes: readonly string[] | undefined, by: Actor): boolean {
    const held = this.devices.get(deviceId)?.grants.get(role)
    const wanted = scopes ?? held
    if (!mayPair(by) || !mayManage(by, deviceId) || held === undefined || wanted === undefined) return false
    if (!covers(held, wanted) || !covers(by.scopes, wanted)) return false
    this.devices.get(deviceId)!.grants.set(role, new Set(wanted))
    this.#live.set(`${deviceId} ${role}`, [])
    this.issue(deviceId, role)
    return true
  }

  /** Reports whether access may be ended, and ends it. */
  revoke(deviceId: string, role: Role, by: Actor): boolean {
    const grants = this.devices.get(deviceId)?.grants
    if (!mayPair(by) || !mayManage(by, deviceId) || grants?.has(role) !== true) return false
    grants.set(role, undefined)
    this.#live.delete(`${deviceId} ${role}`)
    return true
  }

  /** Reports whether a pairing may be ended, and ends it. */
  remove(deviceId: string, by: Actor): boolean {
    if (!mayPair(by) || !mayManage(by, deviceId) || !this.devices.delete(deviceId)) return false
    this.waiting.delete(deviceId)
    for (const role of ['operator', 'node']) this.#live.delete(`${deviceId} ${role}`)
    return true
  }

  /** A device that is connected asks for more; the id of the request that says the same already. */
  upgrade(deviceId: string, scopes: readonly string[], now: number): { again: string | undefined } | undefined {
    const known = this.devices.get(deviceId)
    const held = known?.grants.get('operator')
    if (known === undefined || held === undefined) return undefined
    return this.#file(deviceId, 'operator', [...held, ...scopes], known.platform, now)
  }

  /** Lets a token begin; beyond the cap the oldest ends. */
  issue(deviceId: string, role: Role): void {
    if (this.devices.get(deviceId)?.grants.get(role) === undefined) return
    const key = `${deviceId} ${role}`
    this.#live.set(key, [...(this.#live.get(key) ?? []), undefined].slice(-MAX_TOKENS))
  }

  /** Says which text the newest token of a device has. */
  handOver(deviceId: string, role: Role, token: string): void {
    const live = this.#live.get(`${deviceId} ${role}`)
    if (live !== undefined && live.length > 0) live[live.length - 1] = token
    this.#handed.set(token, { deviceId, role })
  }

  /** Requests that nobody decided in time are gone. */
  expire(now: number): void {
    for (const [deviceId, { at }] of this.waiting) if (at <= now - TTL_MS) this.waiting.delete(deviceId)
  }

  /** What each token that was ever handed out is good for now: its scopes, or nothing. */
  tokens(): [token: string, good: { deviceId: string; role: Role; scopes: Set<string> } | undefined][] {
    return [...this.#handed].map(([token, { deviceId, role }]) => {
      const scopes = this.#isGood(token, deviceId, role) ? this.devices.get(deviceId)?.grants.get(role) : undefined
      return [token, scopes && { deviceId, role, scopes }]
    })
  }

  #isGood(token: string, deviceId: string, role: Role): boolean {
    return this.#live.get(`${deviceId} ${role}`)?.includes(token) === true
  }

  #letIn(deviceId: string, roles: Iterable<Role>, scopes: Iterable<string>, by: Actor): boolean {
    const request = this.waiting.get(deviceId)
    const known = this.devices.get(deviceId)
    const grants = new Map<Role, Set<string>>()
    for (const role of roles) {
      grants.set(role, role === 'node' ? new Set() : new Set([...(known?.grants.get(role) ?? []), ...scopes]))
    }
    const admin = by.scopes.has('operator.admin')
    const all = [...scopes, ...[...grants.values()].flatMap((each) => [...each])]
    if (!mayPair(by) || (!admin && (grants.has('node') || !covers(by.scopes, all)))) return false
    this.#save(deviceId, request?.platform ?? known!.platform, grants)
    return true
  }

  #enrol({ deviceId, platform }: Connect, grants: Map<Role, Set<string>>): void {
    this.#save(deviceId, platform, grants)
    for (const role of grants.keys()) {
      this.#live.delete(`${deviceId} ${role}`)
      this.issue(deviceId, role)
    }
  }

  #save(deviceId: string, platform: string, grants: Map<Role, Set<string>>): void {
    const known = this.devices.get(deviceId)
    this.devices.set(deviceId, { platform, grants: new Map([...(known?.grants ?? []), ...grants]) })
    this.waiting.delete(deviceId)
  }

  #redeem(ask: Connect, text: string, asked: Set<string>, now: number): Verdict {
    const invalid: Verdict = { refused: 'AUTH_BOOTSTRAP_TOKEN_INVALID' }
    const code = this.codes.get(text)!
    if (code.until > now) code.boundTo ??= ask.deviceId
    const { roles } = SETUP_PROFILES[code.access]
    if (code.spent || code.until <= now || code.boundTo !== ask.deviceId || !roles.includes(ask.role)) return invalid
    code.spent = true
    const own = new Set([...asked].filter((scope) => covers(code.scopes, [scope])))
    const both = ask.role === 'node' && ask.client === 'phone' && roles.includes('operator')
    const handed = new Set(both ? code.scopes : [])
    this.#enrol(ask, new Map([[ask.role, own], ...(both ? ([['operator', handed]] as const) : [])]))
    return { in: own, token: 'fresh', ...(both ? { handed } : {}) }
  }

  #ask(ask: Connect, now: number): Verdict {
    const { deviceId, role, platform } = ask
    const known = this.devices.get(deviceId)
    const reason =
      known === undefined
        ? 'not-paired'
        : known.platform !== platform
          ? 'metadata-upgrade'
          : known.grants.get(role) === undefined
            ? 'role-upgrade'
            : 'scope-upgrade'
    if (ask.client === 'probe') return { refused: 'PAIRING_REQUIRED', reason }
    return {
      refused: 'PAIRING_REQUIRED',
      reason,
      ...this.#file(deviceId, role, ask.scopes.filter(isScope), platform, now)
    }
  }

  #file(
    deviceId: string,
    role: Role,
    asked: Iterable<string>,
    platform: string,
    now: number
  ): { again: string | undefined } {
    const earlier = this.waiting.get(deviceId)
    const replaces = role === 'operator' && earlier?.roles.has(role) === true
    const scopes = new Set([...(replaces ? [] : (earlier?.scopes ?? [])), ...asked])
    const roles = new Set([...(earlier?.roles ?? []), role])
    const again = earlier && same(roles, earlier.roles) && same(scopes, earlier.scopes) ? earlier.requestId : undefined
    this.waiting.set(deviceId, { requestId: again ?? '', roles, scopes, platform, at: now })
    return { again }
  }
}

/** Reports whether a set of scopes contains others; full control contains all. */
export function covers(held: ReadonlySet<string>, asked: Iterable<string>): boolean {
  return held.has('operator.admin') || [...asked].every((scope) => held.has(scope))
}

function same(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each))
}

function mayPair(by: Actor): boolean {
  return covers(by.scopes, ['operator.pairing'])
}

function mayManage(by: Actor, deviceId: string): boolean {
  return by.scopes.has('operator.admin') || by.deviceId === deviceId
}
