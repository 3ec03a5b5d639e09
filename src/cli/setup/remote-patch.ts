import { describeTarget } from '../../client/ssh/route.ts'
import { isObject } from '../../config/key-path.ts'
import type { SetupCode } from '../../node-host/setup-code.ts'
import type { Secret } from './flags.ts'
import type { Place } from './place.ts'

/** What is to be written about a gateway elsewhere. */
export interface Wanted {
  place: Exclude<Place, { kind: 'code' }>
  secret: Secret | undefined
  code: SetupCode | undefined
  tlsFingerprint: string | undefined
  sshIdentity: string | undefined
  remotePort: number | undefined
}

const USUAL_PORT = 18_789

/**
 * The merge patch that points commands at a gateway, over what `gateway.remote` holds now. What is kept for another gateway
 * goes to none but that one.
 */
export function remotePatch(
  before: unknown,
  { place, secret, tlsFingerprint, sshIdentity, remotePort, code }: Wanted
): Record<string, unknown> {
  const now = isObject(before) ? before : {}
  const same = isSame(now, place)
  const token = secret !== undefined && 'token' in secret ? secret.token : undefined
  const password = secret !== undefined && 'password' in secret ? secret.password : undefined
  const keeps = same && secret === undefined && code === undefined
  const pin = tlsFingerprint ?? (same ? undefined : null)
  const common = {
    ...(keeps ? {} : { token: token ?? null, password: password ?? null }),
    ...(pin === undefined ? {} : { tlsFingerprint: pin }),
    ...(same ? {} : { edgeAuth: null, sshHostKeyPolicy: null })
  }
  const remote =
    place.kind === 'direct'
      ? { url: hrefOf(place.url), transport: 'direct', sshTarget: null, sshIdentity: null, remotePort: null, ...common }
      : {
          // The local end of the tunnel; the gateway's own port is another matter.
          ...(same && tlsFingerprint === undefined && now.url !== undefined
            ? {}
            : { url: `${tlsFingerprint === undefined ? 'ws' : 'wss'}://127.0.0.1:${USUAL_PORT}` }),
          transport: 'ssh',
          sshTarget: describeTarget(place.target),
          ...(same && sshIdentity === undefined ? {} : { sshIdentity: sshIdentity ?? null }),
          ...(same && remotePort === undefined ? {} : { remotePort: remotePort ?? null }),
          ...common
        }
  return { gateway: { mode: 'remote', remote } }
}

function isSame({ url, transport, sshTarget }: Record<string, unknown>, place: Wanted['place']): boolean {
  if (place.kind === 'ssh') return transport !== 'direct' && sshTarget === describeTarget(place.target)
  return transport === 'direct' && url === hrefOf(place.url)
}

function hrefOf(url: URL): string {
  return url.href.replace(/\/$/, '')
}
