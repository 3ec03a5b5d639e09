import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { cli, RawClient, TestDevice } from '../support/client.ts'
import { askBoth, socketTests, straightTo } from './caller.ts'
import { api, read } from './clients.ts'
import { edit, type Pair } from './pair.ts'

type Json = Record<string, unknown>

const proxied = { 'x-forwarded-for': '203.0.113.60' }
const AUTH = { code: 4001, reason: 'gateway auth changed' }
const POLICY = { code: 4001, reason: 'gateway policy changed' }

/** Edits of the configuration file while clients are connected. The pair has a new token when this is done. */
export async function reloadTests(t: Test, pair: Pair): Promise<void> {
  const ways = straightTo(pair)
  const next = ({ token }: GatewayProcess): string => `next-${token}`
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  const both = <T>(run: (gateway: GatewayProcess) => Promise<T>): Promise<[T, T]> =>
    Promise.all([run(pair.ours), run(pair.reference)])

  await t.test('S14: a rotated token ends what rested on it', async (t) => {
    const clients = await both((gateway) => connected(t, gateway, gateway.token))
    edit(pair, (gateway) => {
      const auth = gateway.auth as Json
      return { ...gateway, auth: { ...auth, token: `next-${auth.token}` } }
    })
    for (const { shared, device, proxied, byDeviceToken } of clients) {
      t.strictSame(await Promise.all([shared.closed, device.closed, proxied.closed]), [AUTH, AUTH, AUTH])
      t.ok((await byDeviceToken.call('health')).ok, 'and nothing else')
    }
    await socketTests(t, pair, ways, [
      { name: 'the old token', params: ({ token }) => ({ auth: { token } }), want: 'token_mismatch' },
      { name: 'the new token', params: (gateway) => ({ auth: { token: next(gateway) } }), want: 'ok' }
    ])
    const old = { name: 'the old token', path: api, headers: ({ token }: GatewayProcess) => bearer(token), want: 401 }
    t.strictSame(
      (await askBoth(pair, ways, old)).map(({ word }) => word),
      [401, 401]
    )
    t.strictSame(await both((gateway) => status(pair, gateway, next(gateway))), [200, 200])
  })

  await t.test(
    'a proxy that is trusted no more (the reference ends every session when a policy changes)',
    async (t) => {
      const [ours, reference] = await both((gateway) => connected(t, gateway, next(gateway)))
      edit(pair, (gateway) => ({ ...gateway, trustedProxies: ['10.0.0.1'] }))
      const { shared, device, proxied, byDeviceToken } = reference
      for (const { closed } of [shared, device, proxied, byDeviceToken]) t.strictSame(await closed, POLICY)
      t.strictSame(await ours.proxied.closed, AUTH)
      for (const client of [ours.shared, ours.device, ours.byDeviceToken]) t.ok((await client.call('health')).ok)
    }
  )

  await t.test('a file that cannot be read changes nothing', async (t) => {
    const clients = await both((gateway) => connected(t, gateway, next(gateway), false))
    const said = await both(async ({ stateDir, output }) => {
      const before = output().length
      writeFileSync(path.join(stateDir, 'openclaw.json'), '{ gateway: {')
      const deadline = performance.now() + 20_000
      while (!/not applied|reload skipped/.test(output().slice(before)) && performance.now() < deadline) await delay(50)
      return output().slice(before)
    })
    t.match(said[0], /configuration not applied/)
    t.match(said[1], /config reload skipped/)
    for (const { shared } of clients) t.ok((await shared.call('health')).ok)
    t.strictSame(await both((gateway) => status(pair, gateway, next(gateway))), [200, 200])
  })
}

async function status({ ours }: Pair, gateway: GatewayProcess, token: string): Promise<number> {
  const url = `http://127.0.0.1:${gateway.port}${gateway === ours ? api.ours : api.reference}`
  return (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status
}

interface Clients {
  shared: RawClient
  device: RawClient
  byDeviceToken: RawClient
  proxied: RawClient
}

async function connected(t: Test, gateway: GatewayProcess, token: string, throughProxy = true): Promise<Clients> {
  const connect = async (auth: Json, device?: TestDevice, headers: Record<string, string> = {}) => {
    const client = await RawClient.open(gateway.url, { headers })
    t.teardown(() => client.close())
    const { ok, error, payload } = await client.connect({ client: cli, scopes: read, auth }, device)
    if (!ok) throw new Error(error?.message)
    return { client, deviceToken: payload?.auth.deviceToken }
  }
  const key = new TestDevice()
  const shared = await connect({ token })
  const device = await connect({ token }, key)
  const byDeviceToken = await connect({ deviceToken: device.deviceToken }, key)
  const other = throughProxy ? await connect({ token }, undefined, proxied) : shared
  return {
    shared: shared.client,
    device: device.client,
    byDeviceToken: byDeviceToken.client,
    proxied: other.client
  }
}
