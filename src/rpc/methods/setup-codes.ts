import { Type } from 'typebox'
import type { JoinLinks } from '../../devices/join.ts'
import { type PairingUrl, pairingUrl, type Whereabouts } from '../../devices/pairing-url.ts'
import { encodeSetup, launchLink, mintCode, type SetupPayload } from '../../devices/setup.ts'
import type { EventKind } from '../../protocol/audit.ts'
import { invalidRequest } from '../../protocol/errors.ts'
import type { SetupAccess } from '../../protocol/setup.ts'
import type { DeviceStore } from '../../store/devices.ts'
import type { SetupCodeStore } from '../../store/setup-codes.ts'
import type { Trail } from '../../store/trail.ts'
import { causedBy } from '../caused-by.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'

/** What the methods of one-time codes work on. */
export interface SetupDeps {
  codes: SetupCodeStore
  devices: DeviceStore
  links: JoinLinks
  trail: Trail
  /** The credential that this gateway itself asks for. */
  auth(): 'token' | 'password'
  whereabouts(): Whereabouts
}

const closed = { additionalProperties: false } as const

/** One-time codes: a link for a browser, a QR code for a phone, a line to paste for a node (S13). */
export function setupMethods({ codes, devices, links, trail, auth, whereabouts }: SetupDeps): Method[] {
  return [
    defineMethod({
      name: 'device.pair.setupCode',
      scope: 'operator.admin',
      params: Type.Object(
        {
          publicUrl: Type.Optional(Type.String({ minLength: 1, maxLength: 2_048 })),
          preferRemoteUrl: Type.Optional(Type.Boolean()),
          includeQr: Type.Optional(Type.Boolean()),
          bootstrapProfile: Type.Optional(Type.Union([Type.Literal('limited'), Type.Literal('node')])),
          joinUrl: Type.Optional(Type.Literal(true))
        },
        closed
      ),
      async handler({ publicUrl, preferRemoteUrl, includeQr = true, bootstrapProfile, joinUrl }, caller) {
        const found = pairingUrl(whereabouts(), { publicUrl, preferRemoteUrl })
        if ('unreachable' in found) throw invalidRequest(found.unreachable, { fix: found.fix })
        const base = joinUrl === true ? joinBase(found) : undefined
        // Whoever reads the code on the way may spend it first: over plaintext it is not worth everything.
        const downgraded = found.plaintext && bootstrapProfile === undefined
        const access: SetupAccess = downgraded ? 'limited' : (bootstrapProfile ?? 'full')
        const { setupId, bootstrapToken, expiresAtMs } = await mintCode(codes, access, caller.scopes)
        const payload: SetupPayload = {
          url: found.url,
          ...(found.urls.length > 1 ? { urls: found.urls } : {}),
          bootstrapToken,
          ...(found.fingerprint === undefined ? {} : { tlsFingerprint: found.fingerprint }),
          expiresAtMs
        }
        const setupCode = encodeSetup(payload)
        note('setup.created', `${access} (${setupId})`, caller)
        return {
          setupId,
          expiresAtMs,
          setupCode,
          ...(base === undefined ? {} : { joinUrl: `${base}${links.offer(payload)}` }),
          ...(includeQr ? { qrDataUrl: await qrDataUrl(setupCode) } : {}),
          gatewayUrl: found.url,
          ...(found.urls.length > 1 ? { gatewayUrls: found.urls } : {}),
          auth: auth(),
          urlSource: found.source,
          access,
          ...(downgraded ? { accessDowngraded: true } : {})
        }
      }
    }),
    defineMethod({
      name: 'device.pair.setupStatus',
      scope: 'operator.admin',
      params: Type.Object({ setupId: Type.String({ minLength: 1, maxLength: 128 }) }, closed),
      async handler({ setupId }) {
        const code = await codes.spent(setupId)
        if (code === undefined || code.access === 'owner') return {}
        const { deviceId, access, spentAtMs, deliveredAtMs } = code
        const device = await devices.find(deviceId)
        const deviceName = device?.label ?? device?.displayName
        const outcome = { setupId, deviceId, ...(deviceName === undefined ? {} : { deviceName }), access }
        return deliveredAtMs === undefined
          ? { deliveryUncertain: { ...outcome, ts: spentAtMs } }
          : { completion: { ...outcome, ts: deliveredAtMs } }
      }
    }),
    defineMethod({
      // Ours: the link that `openclaw dashboard` opens. One browser, once, within ten minutes (S13).
      name: 'device.pair.launchLink',
      scope: 'operator.admin',
      params: Type.Object({}, closed),
      async handler(_params, caller) {
        const link = await launchLink(codes)
        note('launch.created', undefined, caller)
        return link
      }
    })
  ]

  function note(kind: EventKind, detail: string | undefined, caller: Caller): void {
    trail.record({ kind, outcome: 'changed', detail, ...causedBy(caller) })
  }
}

function joinBase({ url, plaintext }: PairingUrl): string {
  if (!plaintext) return url.replace(/^ws/, 'http')
  throw invalidRequest(`a join link needs wss://: whoever reads ${url} on the way could use it first`, {
    fix: { command: 'openclaw config set gateway.tls.enabled true', where: 'gateway host' }
  })
}

async function qrDataUrl(text: string): Promise<string> {
  const { qrPng } = await import('../../devices/qr.ts')
  return `data:image/png;base64,${(await qrPng(text)).toString('base64')}`
}
