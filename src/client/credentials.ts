import type { ClientSecretKey } from '../config/types.ts'
import { ClientError } from './errors.ts'

/** How the destination was chosen; that alone decides which credentials may go there. */
export type Destination = 'explicit' | 'environment' | 'local' | 'remote'

/**
 * What the connection is for: probes and status checks are strict (R28), a node host ignores client credentials in local
 * mode (R27), a channel's monitor is a call like any other (R30).
 */
export const PURPOSES = ['call', 'probe', 'status', 'node-host', 'channel-monitor'] as const

/** One of those. */
export type Purpose = (typeof PURPOSES)[number]

/** What kind of secret a place holds. */
export type CredentialKind = 'token' | 'password' | 'device-token'

/** Where a credential came from. */
export type CredentialSource =
  | 'explicit'
  | 'OPENCLAW_GATEWAY_TOKEN'
  | 'OPENCLAW_GATEWAY_PASSWORD'
  | ClientSecretKey
  | 'paired device'

/** A credential, and where it came from. The value is never logged. */
export interface Credential {
  value: string
  source: CredentialSource
}

/** One place that was looked at, in order. */
export interface ChainStep {
  credential: CredentialKind
  source: CredentialSource
  outcome: 'used' | 'unset' | 'unresolved'
}

/** What may be sent, and how it was found. */
export interface Credentials {
  token: Credential | undefined
  password: Credential | undefined
  /** What the gateway issued to this host's device; only where neither of the others was found. */
  deviceToken: Credential | undefined
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
  /** A look at this host's own gateway, beside one elsewhere that is configured: what belongs to that one stays with it. */
  besideRemote?: boolean | undefined
  /** Reads the device token that the configured remote gateway has issued to this host. */
  deviceToken?: (() => Promise<string | undefined>) | undefined
}

type Chain = readonly Exclude<CredentialSource, 'explicit' | 'paired device'>[]

const ENV_TOKEN = 'OPENCLAW_GATEWAY_TOKEN'
const ENV_PASSWORD = 'OPENCLAW_GATEWAY_PASSWORD'
const NOTHING: Record<'token' | 'password', Chain> = { token: [], password: [] }

/** The places that are looked at, in order, for a destination and a purpose (R22, R23, R25 to R28). */
export function credentialChain(
  destination: Destination,
  purpose: Purpose,
  besideRemote = false
): Record<'token' | 'password', Chain> {
  switch (destination) {
    case 'explicit':
      return NOTHING
    case 'environment':
      return { token: [ENV_TOKEN], password: [ENV_PASSWORD] }
    case 'remote':
      if (isStrict(purpose))
        return { token: ['gateway.remote.token'], password: [ENV_PASSWORD, 'gateway.remote.password'] }
      return {
        token: ['gateway.remote.token', ENV_TOKEN, 'gateway.auth.token'],
        password: [ENV_PASSWORD, 'gateway.remote.password', 'gateway.auth.password']
      }
    case 'local':
      if (purpose === 'node-host' || besideRemote) {
        return { token: [ENV_TOKEN, 'gateway.auth.token'], password: [ENV_PASSWORD, 'gateway.auth.password'] }
      }
      return {
        token: [ENV_TOKEN, 'gateway.auth.token', 'gateway.remote.token'],
        password: [ENV_PASSWORD, 'gateway.auth.password', 'gateway.remote.password']
      }
  }
}

/** Reports whether only credentials that were meant for the remote gateway count (R28). */
function isStrict(purpose: Purpose): boolean {
  return purpose === 'probe' || purpose === 'status'
}

/**
 * Finds the credentials for one connection: the only resolver there is (R30). An explicit credential always wins, and
 * then nothing else is sent (R24); an explicit URL gets explicit credentials or none at all (R22).
 */
export async function resolveCredentials(input: CredentialInput): Promise<Credentials> {
  const { explicit, destination } = input
  if (given(explicit.token) || given(explicit.password)) return onlyExplicit(explicit)
  if (destination === 'explicit') {
    throw new ClientError(
      'CREDENTIALS_MISSING',
      'missing credentials: a gateway URL given by hand never gets the credentials of the configuration or the environment',
      {
        fix: 'pass --token or --password with --url; for the configured gateway leave --url out'
      }
    )
  }
  const excluded = excludedCredential(input)
  const chains = credentialChain(destination, input.purpose, input.besideRemote)
  const chain: ChainStep[] = []
  const search = (credential: 'token' | 'password'): Promise<Search> =>
    credential === excluded ? Promise.resolve({}) : walk(credential, chains[credential], input, chain)
  const token = await search('token')
  // R6: no other source is tried. Only the last resort of a credential that is not needed may fail quietly: a broken
  // local password must not stand between a remote token and its gateway.
  if ('error' in token && !token.lastResort) throw token.error
  const password = await search('password')
  if ('error' in token && password.found === undefined) throw token.error
  if ('error' in password && !(password.lastResort && token.found !== undefined)) throw password.error
  const none = token.found === undefined && password.found === undefined
  const deviceToken = none && destination === 'remote' ? await paired(input, chain) : undefined
  return { token: token.found, password: password.found, deviceToken, chain }
}

function onlyExplicit(explicit: CredentialInput['explicit']): Credentials {
  const chain: ChainStep[] = []
  const take = (credential: 'token' | 'password'): Credential | undefined => {
    const value = explicit[credential]
    if (!given(value)) return undefined
    chain.push({ credential, source: 'explicit', outcome: 'used' })
    return { value, source: 'explicit' }
  }
  return { token: take('token'), password: take('password'), deviceToken: undefined, chain }
}

interface Search {
  found?: Credential
  error?: unknown
  /** Reports whether what failed was the last of three places, where only what is needed has to be whole. */
  lastResort?: boolean
}

async function walk(
  credential: 'token' | 'password',
  sources: Chain,
  input: CredentialInput,
  chain: ChainStep[]
): Promise<Search> {
  for (const [index, source] of sources.entries()) {
    let value: string | undefined
    try {
      value = await readCredential(source, input)
    } catch (error) {
      chain.push({ credential, source, outcome: 'unresolved' })
      return { error, lastResort: index === 2 }
    }
    if (given(value)) {
      chain.push({ credential, source, outcome: 'used' })
      return { found: { value: value.trim(), source } }
    }
    chain.push({ credential, source, outcome: 'unset' })
  }
  return {}
}

async function paired(input: CredentialInput, chain: ChainStep[]): Promise<Credential | undefined> {
  const value = await input.deviceToken?.()
  chain.push({ credential: 'device-token', source: 'paired device', outcome: given(value) ? 'used' : 'unset' })
  return given(value) ? { value, source: 'paired device' } : undefined
}

/** The credential that is not looked for: in local mode the one that `gateway.auth.mode` does not use. */
export function excludedCredential({
  destination,
  authMode
}: Pick<CredentialInput, 'destination' | 'authMode'>): 'token' | 'password' | undefined {
  if (destination !== 'local') return undefined
  return authMode === 'password' ? 'token' : authMode === 'token' ? 'password' : undefined
}

/** Reads one place of a chain; rejects when it holds a reference that does not resolve. */
export async function readCredential(source: Chain[number], input: CredentialInput): Promise<string | undefined> {
  return isVariable(source) ? input.env[source] : input.fileSecret(source)
}

function isVariable(source: string): source is 'OPENCLAW_GATEWAY_TOKEN' | 'OPENCLAW_GATEWAY_PASSWORD' {
  return source === ENV_TOKEN || source === ENV_PASSWORD
}

/** Reports whether a credential is there and not blank. */
export function given(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== ''
}
