import type { Scope } from '../protocol/scopes.ts'
import type { NodePlatform } from './platform.ts'

/** `gateway.nodes.commands`: what its owner adds to the defaults, and what nobody may run. */
export interface CommandRules {
  allow: readonly string[]
  deny: readonly string[]
}

/** Whose commands are looked at. */
export interface Subject {
  platform: NodePlatform
  /** True for a node that talks: push-to-talk works on any platform. */
  talks: boolean
}

const everywhere = ['system.notify', 'camera.list', 'location.get']
const personal = [
  'device.info',
  'device.status',
  'contacts.search',
  'calendar.events',
  'reminders.list',
  'photos.latest',
  'motion.activity',
  'motion.pedometer'
]

/** What each platform may run without anybody saying so; that a node was approved is asked for besides. */
const DEFAULTS: Readonly<Record<NodePlatform, ReadonlySet<string>>> = {
  linux: new Set([...everywhere, 'computer.act']),
  macos: new Set([
    ...everywhere,
    ...personal,
    'device.apps',
    'camera.ptz.status',
    'computer.act',
    'canvas.present',
    'canvas.hide',
    'canvas.navigate'
  ]),
  windows: new Set([...everywhere, 'device.info', 'device.status', 'computer.act']),
  ios: new Set([...everywhere, ...personal]),
  watchos: new Set(['system.notify', 'device.info', 'device.status']),
  android: new Set([
    ...everywhere,
    ...personal,
    'device.apps',
    'device.permissions',
    'device.health',
    'notifications.list',
    'notifications.actions',
    'callLog.search',
    'mobile.ui.observe',
    'mobile.ui.act'
  ]),
  unknown: new Set(everywhere)
}

const TALK: ReadonlySet<string> = new Set(['talk.ptt.start', 'talk.ptt.stop', 'talk.ptt.cancel', 'talk.ptt.once'])

/** What the desktops may run once a person approved a request that names it. */
const BY_APPROVAL: ReadonlySet<string> = new Set([
  'system.run',
  'system.run.prepare',
  'system.which',
  'system.execApprovals.get',
  'system.execApprovals.set',
  'browser.proxy',
  'browser.proxy.upload.v1',
  'mcp.tools.call.v1',
  'screen.snapshot',
  'desktop.stream',
  'fs.listDir',
  'terminal.upload'
])
const DESKTOPS: ReadonlySet<NodePlatform> = new Set(['linux', 'macos', 'windows'])

/** What must be switched on by name, on any platform. */
const OPT_IN: ReadonlySet<string> = new Set([
  'camera.snap',
  'camera.clip',
  'camera.ptz.control',
  'screen.record',
  'contacts.add',
  'calendar.add',
  'reminders.add',
  'health.summary',
  'sms.send',
  'sms.search'
])

/** What runs programs, reads files, or says what may run: an admin approves it. */
const SENSITIVE: ReadonlySet<string> = new Set([
  'system.run',
  'system.run.prepare',
  'system.which',
  'system.execApprovals.get',
  'system.execApprovals.set',
  'browser.proxy',
  'browser.proxy.upload.v1',
  'fs.listDir',
  'terminal.upload'
])

/** What an admin alone may have a node do; no approval on the node itself stands before it. */
const ADMIN_ONLY: ReadonlySet<string> = new Set([
  'browser.proxy',
  'browser.proxy.upload.v1',
  'fs.listDir',
  'terminal.upload'
])

/** Which commands of nodes may run, as the configuration in force has it. What is denied stays denied. */
export class CommandPolicy {
  readonly #allow: ReadonlySet<string>
  readonly #deny: ReadonlySet<string>

  constructor({ allow, deny }: CommandRules) {
    this.#allow = new Set(allow.map((name) => name.trim()))
    this.#deny = new Set(deny.map((name) => name.trim()))
  }

  /** Reports whether a node of this kind may ask for a command to be approved. */
  mayAsk(command: string, subject: Subject): boolean {
    return this.#allows(command, subject, DESKTOPS.has(subject.platform) && BY_APPROVAL.has(command))
  }

  /** Reports whether a command may run on a node of this kind whose approval names it, or does not. */
  mayRun(command: string, subject: Subject, approved: boolean): boolean {
    return this.#allows(command, subject, approved && BY_APPROVAL.has(command) && DESKTOPS.has(subject.platform))
  }

  /** Reports whether a command waits for its name in the configuration. */
  wantsOptIn(command: string): boolean {
    return OPT_IN.has(command) && !this.#allow.has(command) && !this.#deny.has(command)
  }

  #allows(command: string, { platform, talks }: Subject, approval: boolean): boolean {
    if (this.#deny.has(command)) return false
    if (this.#allow.has(command)) return true
    return approval || DEFAULTS[platform].has(command) || (talks && TALK.has(command))
  }
}

/** The scopes that whoever approves these commands needs. */
export function approvalScopes(commands: readonly string[]): Scope[] {
  if (commands.length === 0) return ['operator.pairing']
  return ['operator.pairing', commands.some((name) => SENSITIVE.has(name)) ? 'operator.admin' : 'operator.write']
}

/** The scope that whoever invokes a command needs. */
export function invokeScope(command: string): Scope {
  return ADMIN_ONLY.has(command) ? 'operator.admin' : 'operator.write'
}

/** Reports whether a node talks, by what it declares. */
export function talks(caps: readonly string[], commands: readonly string[]): boolean {
  return caps.includes('talk') || commands.some((name) => name.startsWith('talk.'))
}
