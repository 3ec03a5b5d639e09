/** What a node runs on, as far as the command policy tells nodes apart. */
export type NodePlatform = 'linux' | 'macos' | 'windows' | 'ios' | 'watchos' | 'android' | 'unknown'

/** What a node says of the machine that it runs on. */
export interface Machine {
  platform: string
  deviceFamily?: string | undefined
}

interface Rule {
  platform: Exclude<NodePlatform, 'unknown'>
  /** What the platform may be called; in full, with a version behind it, or both. */
  name: RegExp
  families: readonly string[]
  /** Words that need no family: whoever sends them has none to send. */
  bare: readonly string[]
}

const rules: readonly Rule[] = [
  { platform: 'linux', name: /^linux$/, families: ['linux'], bare: ['linux'] },
  { platform: 'macos', name: /^(darwin|macos( [\d.]+)?)$/, families: ['mac'], bare: ['darwin', 'macos'] },
  { platform: 'windows', name: /^(win32|windows)$/, families: ['windows'], bare: ['win32', 'windows'] },
  { platform: 'ios', name: /^(ios|ipados)( [\d.]+)?$/, families: ['iphone', 'ipad'], bare: ['ios'] },
  { platform: 'watchos', name: /^watchos( [\d.]+)?$/, families: ['apple watch'], bare: [] },
  { platform: 'android', name: /^android( [\d.]+)?$/, families: ['android'], bare: ['android'] }
]

/**
 * Which platform a node runs on. Both things that it says must agree; a node that contradicts itself is `unknown`, which
 * may do the least.
 */
export function platformOf({ platform, deviceFamily }: Machine): NodePlatform {
  const name = platform.trim().toLowerCase()
  const family = deviceFamily?.trim().toLowerCase()
  const rule = rules.find((each) =>
    family ? each.name.test(name) && each.families.includes(family) : each.bare.includes(platform.trim())
  )
  return rule?.platform ?? 'unknown'
}

const families: Readonly<Record<string, string>> = {
  linux: 'Linux',
  darwin: 'Mac',
  macos: 'Mac',
  win32: 'Windows',
  windows: 'Windows'
}

/** The family of a node: what it says, or what its platform says of a desktop. */
export function familyOf({ platform, deviceFamily }: Machine): string | undefined {
  return deviceFamily?.trim() || families[platform.trim()]
}
