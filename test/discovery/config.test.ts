import t from 'tap'
import { resolveDiscovery } from '../../src/config/discovery.ts'
import { resolveConfig } from '../../src/config/load.ts'
import type { Env } from '../../src/config/paths.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { planReload } from '../../src/config/reload.ts'
import { interpret } from '../../src/config/source.ts'

const bonjour = (enabled: boolean) => ({ plugins: { entries: { bonjour: { enabled } } } })
const mode = (mode: string) => ({ discovery: { mdns: { mode } } })

t.test('S15: nothing is announced unless somebody asks for it, and one no is enough', async (t) => {
  const rows: { name: string; file: object; env?: Env; want: string }[] = [
    { name: 'nothing is said', file: {}, want: 'off' },
    { name: 'a mode', file: mode('minimal'), want: 'minimal' },
    { name: 'the other mode', file: mode('full'), want: 'full' },
    { name: 'the mode off', file: mode('off'), want: 'off' },
    { name: 'the plugin on', file: bonjour(true), want: 'minimal' },
    { name: 'the plugin on, the mode off', file: { ...bonjour(true), ...mode('off') }, want: 'off' },
    { name: 'the plugin off, a mode', file: { ...bonjour(false), ...mode('full') }, want: 'off' },
    {
      name: 'a mode, the environment against it',
      file: mode('full'),
      env: { OPENCLAW_DISABLE_BONJOUR: '1' },
      want: 'off'
    },
    { name: 'in words', file: bonjour(true), env: { OPENCLAW_DISABLE_BONJOUR: ' Yes ' }, want: 'off' },
    {
      name: 'the environment not against it',
      file: mode('full'),
      env: { OPENCLAW_DISABLE_BONJOUR: '0' },
      want: 'full'
    },
    { name: 'only the environment not against it', file: {}, env: { OPENCLAW_DISABLE_BONJOUR: '0' }, want: 'off' }
  ]
  for (const { name, file, env = {}, want } of rows) t.equal(resolveDiscovery(file, env).mdns.mode, want, name)
})

t.test('the domain is of the file, else of the environment', async (t) => {
  const env = { OPENCLAW_WIDE_AREA_DOMAIN: 'env.example.com' }
  const file = { discovery: { wideArea: { domain: ' file.example.com ' } } }
  t.equal(resolveDiscovery(file, env).wideArea.domain, 'file.example.com')
  t.equal(resolveDiscovery({}, env).wideArea.domain, 'env.example.com')
  t.equal(resolveDiscovery({}, {}).wideArea.domain, undefined)
})

t.test('an edit of the mode applies at once, and one of the domain is for clients', async (t) => {
  const config = (discovery: object) => {
    const text = JSON.stringify({ gateway: { mode: 'local', auth: { token: 'x'.repeat(32) } }, discovery })
    return resolveConfig(interpret(text, '/nowhere/openclaw.json', {}), {
      env: {},
      paths: resolvePaths({ HOME: '/nowhere' })
    })
  }
  const [off, on, wide] = await Promise.all([
    config({}),
    config({ mdns: { mode: 'minimal' } }),
    config({ wideArea: { domain: 'a.example.com' } })
  ])
  t.match(planReload(off, on), { applied: ['discovery.mdns.mode'], restart: [], config: { discovery: on.discovery } })
  t.match(planReload(off, wide), { applied: [], restart: [] })
  t.match(wide.warnings, [/discovery\.wideArea\.domain: .*--zone/])
})
