import { digest, fingerprint } from '../auth/secrets.ts'
import type { ClientSecretKey } from '../config/types.ts'
import { ClientError } from './errors.ts'

/** How the destination was chosen; that alone decides which credentials may go there. */
export type Destination = 'explicit' | 'environment' | 'local' | 'remote'

/** What the connection is for: probes are strict (R28), a node host ignores client credentials in local mode (R27). */
export type Purpose = 'call' | 'probe' | 'node-host'

/** Where a credential came from. */
export type CredentialSource = 'explicit' | 'OPENCLAW_GATEWAY_TOKEN' | 'OPENCLAW_GATEWAY_PASSWORD' | ClientSecretKey

/** A credential, and where it came from. The value is never logged. */
export interface Credential {
  value: string
  source: CredentialSource
}

/** One place that was looked at, in order. */
export interface ChainStep {
  credential: 'token' | 'password'
  source: CredentialSource
  outcome: 'used' | 'unset' | 'unresolved'
}

/** What may be sent, and how it was found. */
export interface Credentials {
  token: Credential | undefined
  password: Credential | undefined
  chain: readonly ChainStep[]
}

/** What a resolution starts from. */
export interface CredentialInput {
  destination: Destination
  purpose: Purpose
  /** What the caller was given for this call: `--token`, `--password`, a tool's `gatewayToken`. */
  explicit: { token?: string | undefined; password?: string | undefined }
  /** The environment's overrides (R29). */
  env: Readonly<Record<string, string | undefined>>
  /** Reads a secret of the configuration file; rejects when it is there and does not resolve (R6). */
  fileSecret: (key: ClientSecretKey) => Promise<string | undefined>
  /** `gateway.auth.mode` when written: in local mode the credential that it excludes is not looked for. */
  authMode?: string | undefined
}

type Chain = readonly Exclude<CredentialSource, 'explicit'>[]

const ENV_TOKEN = 'OPENCLAW_GATEWAY_TOKEN'
const ENV_PASSWORD = 'OPENCLAW_GATEWAY_PASSWORD'
const NOTHING: Record<'token' | 'password', Chain> = { token: [], password: [] }

/** The places that are looked at, in order, for a destination and a purpose (R22, R23, R25 to R28). */
export function credentialChain(destination: Destination, purpose: Purpose): Record<'token' | 'password', Chain> {
  switch (destination) {
    case 'explicit':
      return NOTHING
    case 'environment':
      return { token: [ENV_TOKEN], password: [ENV_PASSWORD] }
    case 'remote':
      if (purpose === 'probe')
        return { token: ['gateway.remote.token'], password: [ENV_PASSWORD, 'gateway.remote.password'] }
      return {
        token: ['gateway.remote.token', ENV_TOKEN, 'gateway.auth.token'],
        password: [ENV_PASSWORD, 'gateway.remote.password', 'gateway.auth.password']
      }
    case 'local':
      if (purpose === 'node-host') {
        return { token: [ENV_TOKEN, 'gateway.auth.token'], password: [ENV_PASSWORD, 'gateway.auth.password'] }
      }
      return {
        token: [ENV_TOKEN, 'gateway.auth.token', 'gateway.remote.token'],
        password: [ENV_PASSWORD, 'gateway.auth.password', 'gateway.remote.password']
      }
  }
}

/** One place where a credential may be, and what came of it; never a value. */
export interface Explained {
  credential: 'token' | 'password'
  source: CredentialSource
  outcome: 'used' | 'set' | 'unset' | 'skipped' | 'unresolved'
  /** The first 8 hex digits of the secret's SHA-256. */
  fingerprint?: string
  reason?: string
}

/** What `resolveCredentials` does with every place, those included that it never reaches. */
export async function explainCredentials(input: CredentialInput): Promise<Explained[]> {
  const explicit = [take('token', input), take('password', input)].filter((step) => step !== undefined)
  const found = await resolveCredentials(input).catch((): Partial<Credentials> => ({}))
  const excluded = excludedBy(input)
  const chains = credentialChain(input.destination, input.purpose)
  const places = (['token', 'password'] as const).flatMap((credential) =>
    chains[credential].map((source) => ({ credential, source }))
  )
  const others = places.map(async ({ credential, source }): Promise<Explained> => {
    if (credential === excluded) {
      return { credential, source, outcome: 'skipped', reason: `gateway.auth.mode is "${input.authMode}"` }
    }
    try {
      const value = await read(source, input)
      if (!given(value)) return { credential, source, outcome: 'unset' }
      const used = explicit.length === 0 && found[credential]?.source === source
      return { credential, source, outcome: used ? 'used' : 'set', ...printOf(value) }
    } catch (error) {
      return { credential, source, outcome: 'unresolved', reason: (error as Error).message }
    }
  })
  return [...explicit, ...(await Promise.all(others))]
}

function take(credential: 'token' | 'password', { explicit }: CredentialInput): Explained | undefined {
  const value = explicit[credential]
  return given(value) ? { credential, source: 'explicit', outcome: 'used', ...printOf(value) } : undefined
}

function printOf(value: string): { fingerprint: string } {
  return { fingerprint: fingerprint(digest(value.trim())) }
}

// In local mode the credential that the mode does not use is not looked for.
function excludedBy({ destination, authMode }: CredentialInput): 'token' | 'password' | undefined {
  if (destination !== 'local') return undefined
  return authMode === 'password' ? 'token' : authMode === 'token' ? 'password' : undefined
}

/**
 * Finds the credentials for one connection: the only resolver there is (R30). An explicit credential always wins, and
 * then nothing else is sent (R24); an explicit URL gets explicit credentials or none at all (R22).
 */
export async function resolveCredentials(input: CredentialInput): Promise<Credentials> {
  const { explicit, destination } = input
  if (given(explicit.token) || given(explicit.password)) {
    const chain: ChainStep[] = []
    const take = (credential: 'token' | 'password'): Credential | undefined => {
      const value = explicit[credential]
      if (!given(value)) return undefined
      chain.push({ credential, source: 'explicit', outcome: 'used' })
      return { value, source: 'explicit' }
    }
    return { token: take('token'), password: take('password'), chain }
  }
  if (destination === 'explicit') {
    throw new ClientError(
      'CREDENTIALS_MISSING',
      'missing credentials: a gateway URL given by hand never gets the credentials of the configuration or the environment',
      {
        fix: 'pass --token or --password with --url; for the configured gateway leave --url out'
      }
    )
  }
  const chains = credentialChain(destination, input.purpose)
  const excluded = excludedBy(input)
  const chain: ChainStep[] = []
  const token = excluded === 'token' ? undefined : await walk('token', chains.token, input, chain, false)
  const password =
    excluded === 'password' ? undefined : await walk('password', chains.password, input, chain, token !== undefined)
  return { token, password, chain }
}

async function walk(
  credential: 'token' | 'password',
  sources: Chain,
  input: CredentialInput,
  chain: ChainStep[],
  otherFound: boolean
): Promise<Credential | undefined> {
  for (const source of sources) {
    let value: string | undefined
    try {
      value = await read(source, input)
    } catch (error) {
      chain.push({ credential, source, outcome: 'unresolved' })
      // R6: no other source is tried. Only the last resort of a credential that is not needed may fail quietly: a broken
      // local password must not stand between a remote token and its gateway.
      if (otherFound && source === sources.at(-1) && sources.length > 2) return undefined
      throw error
    }
    if (given(value)) {
      chain.push({ credential, source, outcome: 'used' })
      return { value: value.trim(), source }
    }
    chain.push({ credential, source, outcome: 'unset' })
  }
  return undefined
}

async function read(source: Chain[number], input: CredentialInput): Promise<string | undefined> {
  return isVariable(source) ? input.env[source] : input.fileSecret(source)
}

function isVariable(source: string): source is 'OPENCLAW_GATEWAY_TOKEN' | 'OPENCLAW_GATEWAY_PASSWORD' {
  return source === ENV_TOKEN || source === ENV_PASSWORD
}

function given(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== ''
}
