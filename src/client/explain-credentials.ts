import { digest, fingerprint } from '../auth/secrets.ts'
import {
  type CredentialInput,
  type CredentialKind,
  type CredentialSource,
  type Credentials,
  credentialChain,
  excludedCredential,
  given,
  readCredential,
  resolveCredentials
} from './credentials.ts'

/** One place where a credential may be, and what came of it; never a value. */
export interface Explained {
  credential: CredentialKind
  source: CredentialSource
  outcome: 'used' | 'set' | 'unset' | 'skipped' | 'unresolved'
  /** The first 8 hex digits of the secret's SHA-256. */
  fingerprint?: string
  reason?: string
}

/** What `resolveCredentials` does with every place, those included that it never reaches. */
export async function explainCredentials(input: CredentialInput): Promise<Explained[]> {
  const found = await resolveCredentials(input).catch((): Partial<Credentials> => ({}))
  const chains = credentialChain(input.destination, input.purpose)
  const excluded = excludedCredential(input)
  const explain = async (
    credential: CredentialKind,
    source: CredentialSource,
    read: () => Promise<string | undefined>
  ): Promise<Explained> => {
    if (credential === excluded && source !== 'explicit') {
      return { credential, source, outcome: 'skipped', reason: `gateway.auth.mode is "${input.authMode}"` }
    }
    try {
      const value = await read()
      if (!given(value)) return { credential, source, outcome: 'unset' }
      const used = [found.token, found.password, found.deviceToken].some((each) => each?.source === source)
      return { credential, source, outcome: used ? 'used' : 'set', fingerprint: fingerprint(digest(value.trim())) }
    } catch (error) {
      return { credential, source, outcome: 'unresolved', reason: (error as Error).message }
    }
  }
  const kinds = ['token', 'password'] as const
  const explicit = kinds.filter((kind) => given(input.explicit[kind]))
  const places = [
    ...explicit.map((kind) => explain(kind, 'explicit', async () => input.explicit[kind])),
    ...kinds.flatMap((kind) => chains[kind].map((source) => explain(kind, source, () => readCredential(source, input))))
  ]
  const { deviceToken } = input
  if (deviceToken !== undefined && input.destination === 'remote') {
    places.push(explain('device-token', 'paired device', deviceToken))
  }
  return Promise.all(places)
}
