import { isIP } from 'node:net'
import { isLoopbackHost, isPrivate, parseAuthority } from './addresses.ts'
import type { Ingress } from './ingress.ts'

/** What the Origin check says: passed (or there was none to check), or why not. */
export type OriginVerdict =
  | { ok: true; origin: string | undefined }
  | { ok: false; reason: 'origin not allowed' | 'origin missing or invalid' }

interface OriginInput {
  origin: string | undefined
  host: string | undefined
  ingress: Ingress
  /** True for browser clients, which always have an Origin. */
  required: boolean
  /** `gateway.controlUi.allowedOrigins` and `gateway.publicOrigin`, as compiled by `compileOrigins`. */
  allowed: ReadonlySet<string>
}

/** Compiles configured origins into comparable form; an unusable entry is left out. */
export function compileOrigins(entries: readonly (string | undefined)[]): Set<string> {
  const out = new Set<string>()
  for (const entry of entries) {
    if (entry === undefined || !URL.canParse(entry)) continue
    const { protocol, host } = new URL(entry)
    if (pages.has(protocol)) out.add(`${protocol}//${host}`.toLowerCase())
  }
  return out
}

// Schemes whose pages have an origin of their own. An extension's is its id, so it must be allowed by name.
const pages: ReadonlySet<string> = new Set(['http:', 'https:', 'chrome-extension:', 'moz-extension:'])

/** Decides whether a page of this Origin may talk to us. Runs before any credential is looked at, in every mode (S2, S7). */
export function checkOrigin(input: OriginInput): OriginVerdict {
  const { origin } = input
  if (origin === undefined || origin === '') {
    return input.required ? { ok: false, reason: 'origin missing or invalid' } : { ok: true, origin: undefined }
  }
  const page = parseOrigin(origin)
  if (page === undefined) return { ok: false, reason: 'origin missing or invalid' }
  if (input.allowed.has(page.origin)) return { ok: true, origin: page.origin }
  if (!page.origin.startsWith('http')) return { ok: false, reason: 'origin not allowed' }
  // A page of this machine, and we are talking to this machine directly. The tunnel or proxy case is remote: no.
  if (input.ingress.local && isLoopbackHost(page.host)) return { ok: true, origin: page.origin }
  const host = parseAuthority(input.host ?? '')
  if (host !== undefined && page.host === host.host && page.port === host.port && cannotBeRebound(page.host)) {
    return { ok: true, origin: page.origin }
  }
  return { ok: false, reason: 'origin not allowed' }
}

function parseOrigin(text: string): { origin: string; host: string; port: string } | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  if (!pages.has(url.protocol) || url.host === '') return undefined
  // An Origin has no path: `https://a/b` is something else pretending.
  const origin = `${url.protocol}//${url.host}`
  if (text.toLowerCase() !== origin.toLowerCase()) {
    const explicitDefaultPort = text.toLowerCase().replace(/:(80|443)$/, '')
    if (explicitDefaultPort !== origin.toLowerCase()) return undefined
  }
  const authority = parseAuthority(url.host)
  return authority === undefined ? undefined : { origin: origin.toLowerCase(), ...authority }
}

// A public name can be pointed at us by whoever owns it; these cannot.
function cannotBeRebound(host: string): boolean {
  if (isIP(host) !== 0) return isPrivate(host) && !isLoopbackHost(host)
  return host.endsWith('.local') || host.endsWith('.ts.net')
}
