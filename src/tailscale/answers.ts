import { canonicalAddress } from '../auth/addresses.ts'
import { isObject } from '../config/key-path.ts'
import { printable, TailscaleError } from './errors.ts'

/** Whom a tailnet address belongs to. */
export interface TailnetIdentity {
  login: string
  userId: number
  name: string
  profilePic: string | undefined
  /** Reports whether the machine has tags: then it belongs to no person, and the login is a common one. */
  tagged: boolean
}

/** What tailscaled says of itself and this machine. */
export interface TailscaleStatus {
  version: string
  /** tailscaled's BackendState: `Running`, `Starting`, `NoState`, `NeedsLogin`, `Stopped`, … */
  state: string
  /** This machine's name, lower-case and without the final dot. */
  dnsName: string | undefined
  ips: readonly string[]
  /** The user this machine belongs to; a tagged machine belongs to nobody (D2). */
  ownerId: number | undefined
  ownerLogin: string | undefined
}

/** Reports whether an identity is the person that this machine belongs to. */
export function isOwner(
  identity: Pick<TailnetIdentity, 'login' | 'userId' | 'tagged'>,
  status: TailscaleStatus
): boolean {
  const { ownerId, ownerLogin } = status
  if (identity.tagged || ownerId === undefined || ownerLogin === undefined) return false
  // Ids have 64 bits, more than a number holds: two of them may look alike, two logins don't.
  return identity.userId === ownerId && identity.login === ownerLogin
}

/** Reads an answer to whois. Throws `TAILSCALE_FAILED` for anything that does not look like one. */
export function parseWhois(body: string): TailnetIdentity {
  const { Node: node, UserProfile: user } = parse(body, 'whois')
  if (!isObject(node) || !isObject(user)) throw malformed('whois')
  const login = plain(user.LoginName, 320)
  const userId = id(user.ID)
  if (login === undefined || userId === undefined) throw malformed('whois')
  return {
    login,
    userId,
    name: typeof user.DisplayName === 'string' ? printable(user.DisplayName.slice(0, 200)) : '',
    profilePic: picture(user.ProfilePicURL),
    tagged: hasTags(node, 'whois') || login === 'tagged-devices'
  }
}

/** Reads an answer to status. Throws `TAILSCALE_FAILED` for anything that does not look like one. */
export function parseStatus(body: string): TailscaleStatus {
  const { Version, BackendState, Self, User } = parse(body, 'status')
  const version = plain(Version, 100)
  const state = plain(BackendState, 40)
  if (version === undefined || state === undefined) throw malformed('status')
  // Before its first login a machine is nobody and has no name.
  const self = Self ?? {}
  if (!isObject(self)) throw malformed('status')
  const ownerId = hasTags(self, 'status') ? undefined : id(self.UserID)
  return {
    version,
    state,
    dnsName: dnsName(self.DNSName),
    ips: addresses(self.TailscaleIPs),
    ownerId,
    ownerLogin: ownerId === undefined ? undefined : loginOf(User, ownerId)
  }
}

function parse(body: string, what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw malformed(what)
  }
  if (!isObject(value)) throw malformed(what)
  return value
}

function malformed(what: string): TailscaleError {
  return new TailscaleError('TAILSCALE_FAILED', `tailscaled's answer to ${what} is malformed`)
}

function plain(value: unknown, max: number): string | undefined {
  const usable = typeof value === 'string' && value.length <= max && value.trim() !== '' && !/\p{Cc}/u.test(value)
  return usable ? value : undefined
}

function id(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined
}

// Whatever is not plainly "no tags" counts: a person's rights must not go to a machine.
function hasTags({ Tags: tags }: Record<string, unknown>, what: string): boolean {
  if (tags === undefined || tags === null) return false
  if (!Array.isArray(tags)) throw malformed(what)
  return tags.length > 0
}

function picture(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > 2_048) return undefined
  return URL.canParse(value) && new URL(value).protocol === 'https:' ? value : undefined
}

function dnsName(value: unknown): string | undefined {
  if (value === undefined || value === '') return undefined
  if (typeof value !== 'string' || value.length > 254) throw malformed('status')
  const name = value.toLowerCase().replace(/\.$/, '')
  if (!/^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$/.test(name)) throw malformed('status')
  return name
}

function addresses(value: unknown): readonly string[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || value.length > 16) throw malformed('status')
  return value.map((each) => {
    const address = typeof each === 'string' ? canonicalAddress(each) : undefined
    if (address === undefined) throw malformed('status')
    return address
  })
}

function loginOf(users: unknown, ownerId: number): string | undefined {
  if (!isObject(users)) return undefined
  const found = Object.values(users).filter((user) => isObject(user) && user.ID === ownerId)
  return found.length === 1 ? plain((found[0] as Record<string, unknown>).LoginName, 320) : undefined
}
