/** `3 d 4 h`, `2 h 5 min`, `40 s`: the two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's']
  ]
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return '0\u00a0s'
  return (
    parts
      .slice(first, first + 2)
      .filter(([count], index) => index === 0 || count > 0)
      // A number and its unit stay on one line.
      .map(([count, unit]) => `${count}\u00a0${unit}`)
      .join(' ')
  )
}

/** `just now`, `5 min ago`. */
export function ago(ts: number, now: number = Date.now()): string {
  const age = now - ts
  return age < 10_000 ? 'just now' : `${duration(age).split(' ')[0]} ago`
}

/** A moment to the second, in the reader's own time. */
export function exactTime(ts: number): string {
  return exact.format(ts)
}

/** The day of a moment, in the reader's own time. */
export function when(ts: number): string {
  return day.format(ts)
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' })
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

/** Bytes in MB, as a number and its unit. */
export function megabytes(bytes: number): { value: string; unit: string } {
  const mb = bytes / 1_048_576
  return mb < 1024 ? { value: mb.toFixed(mb < 10 ? 1 : 0), unit: 'MB' } : { value: (mb / 1024).toFixed(2), unit: 'GB' }
}

/** Milliseconds with as many digits as matter. */
export function milliseconds(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0)
}

/** The first characters of a long id, enough to compare by eye. */
export function shortId(id: string): string {
  return id.length > 12 ? id.slice(0, 12) : id
}

/** What a client calls itself, in words. */
export function clientName(clientId: string | undefined): string {
  return clientId === undefined ? 'Client' : (names[clientId] ?? clientId)
}

const names: Record<string, string> = {
  'openclaw-control-ui': 'Browser',
  'webchat-ui': 'Web chat',
  webchat: 'Web chat',
  cli: 'Command line',
  'openclaw-tui': 'Terminal UI',
  'gateway-client': 'Client library',
  'node-host': 'Node host',
  'openclaw-macos': 'macOS app',
  'openclaw-linux': 'Linux app',
  'openclaw-ios': 'iPhone app',
  'openclaw-watchos': 'Watch app',
  'openclaw-android': 'Android app',
  'openclaw-browser-copilot': 'Browser extension'
}

/** What a device is called: by its owner, by itself, or by its kind. */
export function deviceName(device: { label?: string; displayName?: string; clientId?: string }): string {
  return device.label ?? device.displayName ?? clientName(device.clientId)
}

/** A user as a front end names one: a name may be anybody's, so the id is never left out. */
export function userWords({ id, name }: { id: string; name: string }): string {
  return name === id || name === id.split('@')[0] ? id : `${name} (${id})`
}

/** How a caller authenticated, in words. */
export function methodName(method: string): string {
  return methods[method] ?? method
}

const methods: Record<string, string> = {
  token: 'Shared token',
  password: 'Shared password',
  'named-token': 'Named token',
  'device-token': 'Device token',
  'setup-code': 'One-time code',
  'launch-code': 'Launch link',
  tailscale: 'Tailscale identity',
  'trusted-proxy': 'Identity at the proxy',
  owner: 'The owner’s socket',
  none: 'No authentication'
}

/** What a scope lets its holder do, in words. */
export function scopeName(scope: string): string {
  return scopes[scope] ?? scope
}

const scopes: Record<string, string> = {
  'operator.admin': 'Full control',
  'operator.read': 'Read',
  'operator.write': 'Write',
  'operator.sessions.read': 'Read sessions',
  'operator.sessions.write': 'Write sessions',
  'operator.approvals': 'Approvals',
  'operator.questions': 'Questions',
  'operator.pairing': 'Pairing',
  'operator.talk': 'Talk',
  'operator.talk.secrets': 'Talk secrets'
}

/** What a node is asked to do, in words. */
export function commandName(command: string): string {
  return commands[command] ?? commands[`${command.split('.')[0]}.*`] ?? 'Something of its own:'
}

const commands: Record<string, string> = {
  'system.run': 'Run any program its policy allows',
  'system.run.prepare': 'Prepare a program to be approved and run',
  'system.which': 'Find out which programs it has',
  'system.notify': 'Show notifications',
  'system.execApprovals.get': 'Read which programs its policy allows',
  'system.execApprovals.set': 'Change which programs its policy allows',
  'fs.listDir': 'List its folders',
  'mcp.tools.call.v1': 'Call its MCP tools',
  'canvas.*': 'Draw on its screen',
  'camera.list': 'Name its cameras',
  'camera.*': 'Take pictures and clips',
  'screen.*': 'Record its screen',
  'location.*': 'Tell where it is',
  'device.*': 'Tell about itself',
  'notifications.*': 'Read and act on its notifications',
  'photos.*': 'Read its photos',
  'contacts.*': 'Read and add contacts',
  'calendar.*': 'Read and add appointments',
  'reminders.*': 'Read and add reminders',
  'sms.*': 'Read and send messages',
  'motion.*': 'Tell how it moves',
  'browser.*': 'Steer its browser'
}

/** A browser's own name for the device list, `Chrome on Linux`. */
export function browserName(userAgent: string): string {
  const browser = /Edg\//.test(userAgent)
    ? 'Edge'
    : /Firefox\//.test(userAgent)
      ? 'Firefox'
      : /Chrome\//.test(userAgent)
        ? 'Chrome'
        : /Safari\//.test(userAgent)
          ? 'Safari'
          : 'Browser'
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Macintosh', 'CrOS', 'Linux'].find((each) =>
    userAgent.includes(each)
  )
  return system ? `${browser} on ${system === 'Macintosh' ? 'Mac' : system}` : browser
}

/** Words of a program as a sentence. */
export function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}
