/** What a header says about the path a request took, or about who is calling. */
export type HeaderKind = 'plain' | 'host' | 'single' | 'hop' | 'claim' | 'identity' | 'imitation'

/** Sorts header names as they came, in any case. */
export type HeaderKinds = (name: string) => HeaderKind

/** The header by which a caller, or the proxy before it, narrows what it may do. */
export const SCOPES_HEADER = 'x-openclaw-scopes'

// Headers that only a front end writes. Any of them removes locality (S3).
const hopHeader =
  /^(?:forwarded|x-forwarded(?:-.*)?|x-original-forwarded-for|x-real-ip|via|tailscale-.*|cf-.*|(?:true|x|x-cluster)-client-ip|x-envoy-.*)$/
// Of those, the ones that claim something about the client: they need a sender we trust.
const claimHeader = /^(?:forwarded|x-forwarded(?:-.*)?|x-real-ip|tailscale-.*)$/

// The same few names come with every request; asking the patterns once for each is enough.
const MAX_KINDS = 512

/** Compiles the sorting for a configuration: `identity` carries a proxy's word on who is calling, `single` only has to be unambiguous. */
export function compileHeaders(input: { identity: readonly string[]; single: readonly string[] }): HeaderKinds {
  const identity = spellings(input.identity)
  const single = spellings([...input.single, SCOPES_HEADER])
  const kinds = new Map<string, HeaderKind>()

  function kindOf(name: string): HeaderKind {
    const lower = name.toLowerCase()
    if (lower === 'host') return 'host'
    const plain = lower.replaceAll('_', '-')
    const named = identity.get(plain) ?? single.get(plain)
    const hop = hopHeader.test(plain)
    if (named === undefined && !hop) return 'plain'
    // `X_Forwarded_For` reaches some back ends as `X-Forwarded-For`: it is nothing but an imitation of it.
    if (lower !== (named ?? plain)) return 'imitation'
    if (identity.has(plain)) return 'identity'
    if (!hop) return 'single'
    return claimHeader.test(plain) ? 'claim' : 'hop'
  }

  return (name) => {
    const known = kinds.get(name)
    if (known !== undefined) return known
    const kind = kindOf(name)
    if (kinds.size < MAX_KINDS) kinds.set(name, kind)
    return kind
  }
}

function spellings(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [name.replaceAll('_', '-'), name]))
}

/** The headers of a request that matter to where it comes from, each once. */
export interface FrontHeaders {
  host: string | undefined
  /** By lower-case name: what is claimed, of whom, and what has to be unambiguous. */
  values: ReadonlyMap<string, string>
  hop: boolean
  claim: boolean
  identity: boolean
}

/** Reads raw headers (name, value, name, …); undefined when one that matters is repeated or imitated. */
export function readFront(rawHeaders: readonly string[], kindOf: HeaderKinds): FrontHeaders | undefined {
  const values = new Map<string, string>()
  const found = { host: undefined as string | undefined, values, hop: false, claim: false, identity: false }
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const kind = kindOf(rawHeaders[i]!)
    if (kind === 'plain') continue
    const value = rawHeaders[i + 1]!
    if (kind === 'host') {
      found.host ??= value
      continue
    }
    if (kind === 'hop') {
      found.hop = true
      continue
    }
    const name = rawHeaders[i]!.toLowerCase()
    // Two lines are two opinions: a proxy that adds its own beside the client's has not overwritten anything.
    if (kind === 'imitation' || values.has(name)) return undefined
    values.set(name, value)
    if (kind === 'claim') found.claim = true
    else if (kind === 'identity') found.identity = true
  }
  return found
}

/** The host that raw headers ask for, when they hold nothing but what any client sends. */
export function directHost(rawHeaders: readonly string[], kindOf: HeaderKinds): string | undefined {
  let host: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const kind = kindOf(rawHeaders[i]!)
    if (kind === 'host') host ??= rawHeaders[i + 1]
    else if (kind !== 'plain') return undefined
  }
  return host
}
