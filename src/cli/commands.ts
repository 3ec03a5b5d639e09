import type { Command } from 'commander'
import type { Io } from './io.ts'

/** A command module: one file, loaded only when its command is run. */
export interface CommandModule {
  build(io: Io): Command
}

/** One top-level command, as help shows it. */
export interface CommandEntry {
  name: string
  summary: string
  /** Set for an older name that only scripts use. */
  hidden?: true
  load(): Promise<CommandModule>
}

/** Every top-level command, in the order help lists them. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'setup',
    summary: 'Set up this host, or point it at a gateway elsewhere',
    load: () => import('./commands/setup.ts')
  },
  { name: 'gateway', summary: 'Run and query the gateway', load: () => import('./commands/gateway.ts') },
  { name: 'dashboard', summary: 'Open the Control UI in a browser', load: () => import('./commands/dashboard.ts') },
  { name: 'health', summary: "Show the gateway's health", load: () => import('./commands/health.ts') },
  {
    name: 'status',
    summary: 'Show what the gateway is and how it is reached',
    load: () => import('./commands/status.ts')
  },
  { name: 'devices', summary: 'Let devices in, and end their access', load: () => import('./commands/devices.ts') },
  { name: 'qr', summary: 'Pair a phone or a node with a QR code', load: () => import('./commands/qr.ts') },
  {
    name: 'tunnel',
    summary: 'Keep an SSH tunnel to the gateway up',
    load: () => import('./commands/tunnel.ts')
  },
  { name: 'tokens', summary: 'Make, list and revoke named tokens', load: () => import('./commands/tokens.ts') },
  {
    name: 'approvals',
    summary: 'Say what agents may run, and answer what waits',
    load: () => import('./commands/approvals.ts')
  },
  { name: 'nodes', summary: 'See, approve and use the machines lent to it', load: () => import('./commands/nodes.ts') },
  { name: 'node', summary: 'Let a gateway run commands on this machine', load: () => import('./commands/node.ts') },
  { name: 'audit', summary: 'Show who came in and who was turned away', load: () => import('./commands/audit.ts') },
  { name: 'logs', summary: "Show the gateway's log; --follow stays", load: () => import('./commands/logs.ts') },
  {
    name: 'doctor',
    summary: 'Find what is wrong, and mend it',
    load: () => import('./commands/doctor.ts')
  },
  {
    name: 'security',
    summary: 'Look for what would let somebody else in',
    load: () => import('./commands/security.ts')
  },
  { name: 'config', summary: 'Read and change the configuration', load: () => import('./commands/config.ts') },
  { name: 'auth', summary: 'Explain which credential is sent where', load: () => import('./commands/auth.ts') },
  {
    name: 'onboard',
    summary: 'The older name of setup',
    hidden: true,
    load: () => import('./commands/setup.ts')
  },
  {
    name: 'daemon',
    summary: 'The older name of what gateway does with its service',
    hidden: true,
    load: () => import('./commands/daemon.ts')
  },
  { name: 'completion', summary: 'Print a shell completion script', load: () => import('./commands/completion.ts') }
]

/** Shown by `openclaw --help`: each line a command that works as it stands. */
export const EXAMPLES: readonly (readonly [command: string, what: string])[] = [
  ['openclaw setup', 'the first run: asks, tries it, writes it'],
  ['openclaw gateway', 'start the gateway in this terminal'],
  ['openclaw dashboard', 'open the Control UI, signed in'],
  ['openclaw health', 'ask the gateway on this host how it is'],
  ['openclaw devices approve --latest', 'let the device in that just asked'],
  ['openclaw nodes run --node kitchen -- uname -a', 'run a program on a node'],
  ['openclaw config get gateway.port', 'read a setting'],
  ['openclaw gateway call system-presence --json', 'call any method'],
  ['openclaw --profile test gateway --port 19100', 'run a second, separate gateway']
]
