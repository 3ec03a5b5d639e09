import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { MAIN } from './cli.ts'
import { TOKEN, tempDir } from './gateway.ts'
import { type Distant, ip, makeMachines, onMachine, within } from './netns.ts'

/** The network, as each machine calls its interface. It is a bridge: the reference overlooks the cables of namespaces. */
export const LAN = 'lan0'

let lans = 0

/** Makes machines that are on one network: 10.79.0.1, 10.79.0.2 and so on. */
export function makeLan<Count extends 2 | 3>(
  t: Test,
  count: Count
): Count extends 2 ? [string, string] : [string, string, string] {
  lans += 1
  const names = Array.from({ length: count }, (_, n) => `ocd${n}${process.pid}-${lans}`)
  const bridge = `ocb${process.pid}-${lans}`
  makeMachines(t, [...names, bridge])
  for (const name of [...names, bridge]) ip('-n', name, 'link', 'add', LAN, 'up', 'type', 'bridge')
  for (const [n, name] of names.entries()) {
    ip('link', 'add', 'oc0', 'netns', name, 'type', 'veth', 'peer', 'name', `p${n}`, 'netns', bridge)
    ip('-n', bridge, 'link', 'set', `p${n}`, 'master', LAN, 'up')
    ip('-n', name, 'link', 'set', 'oc0', 'master', LAN, 'up')
    ip('-n', name, 'addr', 'add', `10.79.0.${n + 1}/24`, 'dev', LAN)
  }
  return names as ReturnType<typeof makeLan<Count>>
}

/** A gateway on a machine of its own. */
export interface LanGateway extends Distant {
  /** Puts another `discovery` section into the file. */
  configure(discovery: Record<string, unknown>): void
  /** Runs our command beside it, and gives what it printed. */
  cli(...words: string[]): Promise<string>
}

/** Starts our gateway on a machine; it listens on the network, and announces itself unless told otherwise. */
export async function startOnLan(
  t: Test,
  machine: string,
  given: {
    port?: number
    bind?: string
    customBindHost?: string
    tls?: unknown
    discovery?: Record<string, unknown>
    env?: NodeJS.ProcessEnv
  } = {}
): Promise<LanGateway> {
  const { discovery = { mdns: { mode: 'minimal' } }, env: more, ...rest } = given
  const stateDir = tempDir(t)
  const env = { ...cleanEnv(tempDir(t)), OPENCLAW_STATE_DIR: stateDir, ...more }
  const gateway = { mode: 'local', bind: 'lan', auth: { mode: 'token', token: TOKEN }, ...rest }
  const configure = (section: Record<string, unknown>) =>
    writeFileSync(path.join(stateDir, 'openclaw.json'), JSON.stringify({ gateway, discovery: section }), {
      mode: 0o600
    })
  configure(discovery)
  const distant = await within(t, machine, ['gateway', 'run'], env, 'is ready on')
  return { ...distant, configure, cli: async (...words) => (await runOn(t, machine, words, env)).stdout }
}

/** What `gateway discover` printed. */
export interface Discovered {
  count: number
  beacons: { instanceName: string; host: string; wsUrl: string }[]
}

/** Runs our `gateway discover` on a machine. */
export async function discover(t: Test, machine: string, ...more: string[]): Promise<Discovered> {
  const env = { ...cleanEnv(tempDir(t)) }
  const { stdout } = await runOn(t, machine, ['gateway', 'discover', '--json', ...more], env)
  return JSON.parse(stdout)
}

/** Runs our command on a machine to its end; gives what it printed, and that with its warnings. */
export async function runOn(
  t: Test,
  machine: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv
): Promise<{ stdout: string; all: string }> {
  const { exited, output } = onMachine(t, machine, [process.execPath, MAIN, ...args], env)
  await exited
  return { stdout: output('stdout'), all: output() }
}
