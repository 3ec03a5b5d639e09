import type { HelloOk } from '../protocol/frames.ts'
import type { Scope } from '../protocol/scopes.ts'
import { newDeviceKey, signerOf } from './device-key.ts'
import type { KnownDevice, KnownGateways } from './known-gateways.ts'
import type { DeviceSigner } from './types.ts'

/** This host as a device of one gateway elsewhere. */
export interface HostDevice {
  signer: DeviceSigner
  /** What the gateway has granted to it so far. */
  scopes: readonly string[]
  /** Keeps what a gateway has granted, and the token that it issued. */
  remember(hello: HelloOk): Promise<void>
}

/** The device that this host is to a gateway; without one, a new one where `mayBegin`. */
export async function hostDevice(
  origin: string,
  known: KnownGateways,
  mayBegin: boolean
): Promise<HostDevice | undefined> {
  const before = (await known.find(origin))?.device
  if (before === undefined && !mayBegin) return undefined
  const key = before?.key ?? newDeviceKey()
  const { sign, ...identity } = signerOf(key)
  let kept: Promise<KnownDevice> | undefined = before === undefined ? undefined : Promise.resolve(before)
  const keep = (): Promise<KnownDevice> =>
    known
      .change(origin, (gateway) => ({ ...gateway, device: gateway.device ?? { key, scopes: [] } }))
      .then(({ device }) => device as KnownDevice)
  return {
    signer: {
      ...identity,
      async sign(payload) {
        // Kept before it is shown: what somebody approves must still exist when this host comes back.
        kept ??= keep()
        await kept
        return sign(payload)
      }
    },
    scopes: before?.scopes ?? [],
    async remember({ auth }) {
      const scopes = [...new Set<string>([...(before?.scopes ?? []), ...(auth.scopes satisfies Scope[])])]
      const token = auth.deviceToken ?? before?.token
      if (token === before?.token && scopes.length === before?.scopes.length) return
      await known.change(origin, (gateway) => ({ ...gateway, device: { key, token, scopes } }))
    }
  }
}
