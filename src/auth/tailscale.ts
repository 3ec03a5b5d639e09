import type { Ingress } from './ingress.ts'

/** Who has a tailnet address, as tailscaled says. */
export interface TailnetUser {
  login: string
  userId: number
  name: string
  /** A tagged machine acts for nobody. */
  tagged: boolean
}

/** What tailscaled is asked; no answer is nobody. */
export interface TailscaleWitness {
  whois(address: string): Promise<TailnetUser | undefined>
  /** Reports whether this machine is a user's own; a tagged machine is nobody's (D2). */
  isOwner(user: TailnetUser): Promise<boolean>
}

/** A tailnet user who is who the header says. */
export interface TailscaleIdentity {
  login: string
  name: string
  owner: boolean
}

/** Decides who a request through Serve is from: the header equals what whois says of the address, or it is nobody (R7). */
export async function tailscaleIdentity(
  { claims, client }: Ingress,
  witness: TailscaleWitness
): Promise<TailscaleIdentity | undefined> {
  // Funnel traffic comes from anywhere, whatever else it carries.
  if (claims?.by !== 'tailscale' || claims.login === undefined || claims.funnel) return undefined
  const login = decodeHeader(claims.login.trim())
  if (login === undefined || login === '') return undefined
  const user = await witness.whois(client)
  if (user === undefined || user.tagged || user.login !== login) return undefined
  return { login, name: user.name, owner: await witness.isOwner(user) }
}

/** Decodes an RFC 2047 Q-encoded header value in UTF-8; plain text stays, anything else is undefined. */
function decodeHeader(text: string): string | undefined {
  if (!text.includes('=?')) return text
  const words = text.split(/(?<=\?=)\s+(?==\?)/)
  const decoded = words.map((word) => /^=\?utf-8\?q\?([!-<>@-~]*(?:=[0-9a-f]{2}[!-<>@-~]*)*)\?=$/i.exec(word)?.[1])
  if (decoded.includes(undefined)) return undefined
  const bytes = decoded
    .join('')
    .replaceAll('_', ' ')
    .replaceAll(/=([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return undefined
  }
}
