import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { NodeCredentials } from '../../src/node-host/credentials.ts'
import { nodeTarget, pairedTarget } from '../../src/node-host/target.ts'
import { tempDir } from '../support/gateway.ts'

const PLACES = ['$token', '$password', 'auth.token', 'auth.password', 'remote.token', 'remote.password'] as const
type Place = (typeof PLACES)[number]
const TARGETS = ['--host', 'configured', 'OPENCLAW_GATEWAY_URL', 'paired by code'] as const

/** One combination of everything that decides what a node host shows its gateway. */
interface Case {
  mode: 'local' | 'remote'
  target: (typeof TARGETS)[number]
  authMode: 'token' | 'password' | undefined
  has: ReadonlySet<Place>
  deviceToken: boolean
  code: boolean
}

/** What the rules say; it shares no code with the node host. */
function ruled({ mode, target, authMode, has, deviceToken, code }: Case): string {
  if (code) return 'bootstrapToken: code'
  const overridden = has.has('$token') || has.has('$password')
  if (deviceToken && (target === 'paired by code' || !overridden)) return 'deviceToken: device'
  if (target === 'paired by code') return 'nothing'
  const remote = mode === 'remote' && target !== 'OPENCLAW_GATEWAY_URL'
  const local = mode === 'local' && target !== 'OPENCLAW_GATEWAY_URL'
  const orders: Record<'token' | 'password', string> = remote
    ? { token: 'remote.token $token auth.token', password: '$password remote.password auth.password' } // R26
    : local
      ? { token: '$token auth.token', password: '$password auth.password' } // R27
      : { token: '$token', password: '$password' } // R23
  for (const secret of ['token', 'password'] as const) {
    if (local && authMode !== undefined && authMode !== secret) continue
    const place = orders[secret].split(' ').find((each) => has.has(each as Place))
    if (place !== undefined) return `${secret}: ${place}`
  }
  return 'nothing'
}

t.test('R27: what a node host shows, over every combination of target, places and what it was given', async (t) => {
  const stateDir = tempDir(t)
  const wrong: unknown[] = []
  const outcomes = new Set<string>()
  let total = 0

  /** What it shows in truth: by the configuration in its file, and its environment. */
  async function shown({ mode, target, authMode, has, deviceToken, code }: Case): Promise<string> {
    const value = (place: Place) => (has.has(place) ? place : undefined)
    const gateway = {
      mode,
      auth: { mode: authMode, token: value('auth.token'), password: value('auth.password') },
      remote: { url: 'wss://remote.example', token: value('remote.token'), password: value('remote.password') }
    }
    writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
    const env = {
      OPENCLAW_STATE_DIR: stateDir,
      OPENCLAW_GATEWAY_TOKEN: value('$token'),
      OPENCLAW_GATEWAY_PASSWORD: value('$password'),
      ...(target === 'OPENCLAW_GATEWAY_URL' ? { OPENCLAW_GATEWAY_URL: 'wss://env.example' } : {})
    }
    const paths = resolvePaths(env)
    const config = await loadConfig({ env, paths, client: true })
    const flags = target === '--host' ? { host: 'flag.example', tls: true } : {}
    const paired = target === 'paired by code' ? { url: 'wss://paired.example' } : undefined
    const credentials = new NodeCredentials({
      target: code && paired ? pairedTarget(paired) : nodeTarget(flags, config, env, paired),
      env,
      paths,
      deviceToken: deviceToken ? 'device' : undefined,
      keep: async () => {},
      bootstrap: code ? { token: 'code', accepted: async () => {}, refused() {} } : undefined
    })
    const claim = Object.entries((await credentials.claim()) ?? {})
    return claim.length === 0 ? 'nothing' : claim.map(([kind, secret]) => `${kind}: ${secret}`).join(' and ')
  }

  for (const target of TARGETS)
    for (const mode of ['local', 'remote'] as const)
      for (const authMode of [undefined, 'token', 'password'] as const)
        for (const deviceToken of [false, true])
          for (const code of target === 'paired by code' ? [false, true] : [false])
            for (let bits = 0; bits < 2 ** PLACES.length; bits++) {
              const has = new Set(PLACES.filter((_, n) => bits & (1 << n)))
              const one = { mode, target, authMode, has, deviceToken, code }
              const want = ruled(one)
              const got = await shown(one).catch((error: Error) => `refused: ${error.message}`)
              total += 1
              outcomes.add(want)
              if (got !== want && wrong.length < 5) wrong.push({ ...one, has: [...has], want, got })
            }
  t.same(wrong, [])
  t.equal(total, (3 + 2) * 2 * 3 * 2 * 64)
  t.same(
    [...outcomes].sort(),
    [
      'bootstrapToken: code',
      'deviceToken: device',
      'nothing',
      ...PLACES.map((place) => `${place.endsWith('token') ? 'token' : 'password'}: ${place}`).sort()
    ].sort()
  )
})
