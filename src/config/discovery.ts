import { valueAt } from './key-path.ts'
import { type Env, envValue } from './paths.ts'
import type { DiscoveryConfig } from './types.ts'

const MODES = ['off', 'minimal', 'full'] as const

/**
 * The `discovery` section of a file and the environment's word on it. The reference announces with its `bonjour` plugin
 * on; whichever of its three switches says no, the answer is no.
 */
export function resolveDiscovery(file: unknown, env: Env): DiscoveryConfig {
  const plugin = valueAt(file, ['plugins', 'entries', 'bonjour', 'enabled'])
  const written = MODES.find((mode) => mode === valueAt(file, ['discovery', 'mdns', 'mode']))
  const wanted = written ?? (plugin === true ? 'minimal' : 'off')
  const refused = plugin === false || isYes(envValue(env, 'OPENCLAW_DISABLE_BONJOUR'))
  const domain = valueAt(file, ['discovery', 'wideArea', 'domain'])
  return {
    mdns: { mode: refused ? 'off' : wanted },
    wideArea: {
      domain: (typeof domain === 'string' && domain.trim()) || envValue(env, 'OPENCLAW_WIDE_AREA_DOMAIN')?.trim()
    }
  }
}

function isYes(text: string | undefined): boolean {
  return text !== undefined && /^(1|true|yes|on)$/i.test(text.trim())
}
