/** A host of the user's ssh configuration that stands for the gateway behind its tunnel (R36). */
export interface SshEntry {
  alias: string
  hostName: string
  user: string
  port: number
  proxyJump: string | undefined
  identity: string | undefined
  localPort: number
  remotePort: number
  strict: boolean
}

const BEGIN = (alias: string) => `# openclaw tunnel: ${alias}`
const END = (alias: string) => `# openclaw tunnel: end of ${alias}`

/** The text of an entry: what the guide writes, and what lets ssh end when the tunnel is of no more use. */
export function entryText(entry: SshEntry): string {
  const lines = [
    `Host ${entry.alias}`,
    `    HostName ${entry.hostName}`,
    `    User ${entry.user}`,
    `    LocalForward ${entry.localPort} 127.0.0.1:${entry.remotePort}`,
    ...(entry.identity === undefined ? [] : [`    IdentityFile ${quoted(entry.identity)}`, '    IdentitiesOnly yes']),
    ...(entry.port === 22 ? [] : [`    Port ${entry.port}`]),
    ...(entry.proxyJump === undefined ? [] : [`    ProxyJump ${entry.proxyJump}`]),
    '    BatchMode yes',
    '    ExitOnForwardFailure yes',
    '    ServerAliveInterval 15',
    '    ServerAliveCountMax 3',
    ...(entry.strict ? ['    StrictHostKeyChecking yes'] : [])
  ]
  return `${lines.join('\n')}\n`
}

/**
 * Puts an entry at the top of a configuration, in place of an older one of ours: for each option ssh takes the first value
 * that it finds. What stood at the top for every host stays so.
 */
export function withEntry(text: string, entry: SshEntry): string {
  const { alias } = entry
  const rest = withoutEntry(text, alias)
  return `${BEGIN(alias)}\n${entryText(entry)}Host *\n${END(alias)}\n${rest === '' ? '' : `\n${rest}`}`
}

/** Takes our entry out of a configuration; everything else stays as it is. */
export function withoutEntry(text: string, alias: string): string {
  const from = text.indexOf(`${BEGIN(alias)}\n`)
  const end = `${END(alias)}\n`
  const to = text.indexOf(end, from)
  if (from === -1 || to === -1) return text
  return text.slice(0, from) + text.slice(to + end.length).replace(/^\n/, '')
}

/** Reports whether somebody else wrote an entry for this very host. */
export function hasForeignEntry(text: string, alias: string): boolean {
  const hosts = [...withoutEntry(text, alias).matchAll(/^[ \t]*host[ \t=]+(.*)$/gim)]
  return hosts.some(([, names]) => names!.replaceAll('"', '').trim().split(/\s+/).includes(alias))
}

function quoted(path: string): string {
  return /\s/.test(path) ? `"${path}"` : path
}
