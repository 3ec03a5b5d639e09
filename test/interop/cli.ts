import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { at, type Outcome, type Pair, shape, withoutFix } from './pair.ts'

/** One command of the reference CLI, and what must come out the same from both gateways. */
interface Case {
  name: string
  args: readonly string[]
  /** Added after `args`; default: `--url` and the right token. */
  target?: (gateway: GatewayProcess) => readonly string[]
  home?: 'config'
  code: number
  /** Dot paths of the JSON on stdout that are equal; a trailing `?` compares the kind of value alone. */
  json?: readonly string[]
  /** Picks lines of stdout that are equal up to numbers; without `json`, all of them. */
  lines?: RegExp
}

const right = (gateway: GatewayProcess): readonly string[] => ['--url', gateway.url, '--token', gateway.token]
const wrong = (gateway: GatewayProcess): readonly string[] => ['--url', gateway.url, '--token', 'not-the-token']
const bare = (gateway: GatewayProcess): readonly string[] => ['--url', gateway.url]
const none = (): readonly string[] => []

const error = ['ok', 'error.type', 'error.code', 'error.message', 'error.details', 'error.retryable'] as const
const health = ['ok', 'ts?', 'durationMs?', 'channels', 'channelOrder', 'heartbeatSeconds?', 'defaultAgentId'] as const
const rest = ['agents?', 'sessions.count', 'eventLoop.degraded?', 'plugins.errors'] as const
const status = ['runtimeVersion?', 'heartbeat.defaultAgentId', 'channelSummary'] as const
const sessions = ['sessions.count', 'sessions.recent', 'sessions.byAgent?'] as const
const probe = ['ok', 'degraded', 'capability', 'primaryTargetId', 'warnings.0.code', 'warnings.0.message'] as const
const target = ['connect.ok', 'connect.rpcOk', 'connect.scopeLimited', 'connect.error', 'connect.close', 'auth', 'self']
const rpc = ['ok', 'kind', 'gatewayReached', 'capability', 'auth', 'connectFailure', 'error', 'url', 'server.version?']

const cases: readonly Case[] = [
  { name: 'gateway health', args: ['gateway', 'health'], code: 0, lines: /./ },
  { name: 'gateway health --json', args: ['gateway', 'health', '--json'], code: 0, json: [...health, ...rest] },
  { name: 'gateway call status', args: ['gateway', 'call', 'status'], code: 0, lines: /^Gateway call/ },
  {
    name: 'gateway call status --json',
    args: ['gateway', 'call', 'status', '--json'],
    code: 0,
    json: [...status, ...sessions]
  },
  {
    name: 'gateway call system-presence --json',
    args: ['gateway', 'call', 'system-presence', '--json'],
    code: 0,
    json: [
      'length',
      '0.host',
      '0.platform',
      '0.deviceFamily',
      '0.mode',
      '0.reason',
      '0.text?',
      '0.ts?',
      '0.instanceId?'
    ]
  },
  { name: 'gateway call device.pair.list', args: ['gateway', 'call', 'device.pair.list'], code: 0, lines: /./ },
  {
    name: 'gateway probe says which scope is missing',
    args: ['gateway', 'probe'],
    code: 0,
    lines: /./
  },
  {
    name: 'gateway probe --json says which scope is missing',
    args: ['gateway', 'probe', '--json'],
    code: 0,
    json: [...probe, ...target.map((key) => `targets.0.${key}`), 'targets.0.server.version?']
  },
  {
    name: 'gateway status',
    args: ['gateway', 'status'],
    code: 0,
    lines: /^(Probe target|Connectivity|Capability|Gateway version|Runtime)/
  },
  {
    name: 'gateway status --json',
    args: ['gateway', 'status', '--json'],
    code: 0,
    json: rpc.map((key) => `rpc.${key}`)
  },
  {
    name: 'an unknown method',
    args: ['gateway', 'call', 'no.such.method', '--json'],
    code: 1,
    json: error
  },
  {
    name: 'bad params',
    args: ['gateway', 'call', 'device.pair.approve', '--params', '{"requestId":5}', '--json'],
    code: 1,
    json: error
  },
  {
    name: 'R22: gateway health --url without credentials',
    args: ['gateway', 'health', '--json'],
    target: bare,
    code: 1,
    json: ['ok', 'error.type']
  },
  {
    name: 'gateway status --url without credentials',
    args: ['gateway', 'status', '--json'],
    target: bare,
    code: 0,
    json: rpc.map((key) => `rpc.${key}`)
  },
  { name: 'health with a config file', args: ['health'], target: none, home: 'config', code: 0, lines: /^[A-Z]/ },
  {
    name: 'health --json with a config file',
    args: ['health', '--json'],
    target: none,
    home: 'config',
    code: 0,
    json: [...health, ...rest]
  },
  {
    name: 'R20: status --deep with a config file',
    args: ['status', '--deep'],
    target: none,
    home: 'config',
    code: 0,
    // What its agent did in the meantime (tasks, events, the last heartbeat) is the reference's own affair.
    lines: /^│ (Gateway|Agents) +│/
  },
  {
    name: 'R20: status --deep --json with a config file',
    args: ['status', '--deep', '--json'],
    target: none,
    home: 'config',
    code: 0,
    json: [
      ...status,
      ...sessions,
      'gateway.mode',
      'gateway.urlSource',
      'gateway.misconfigured',
      'gateway.reachable',
      'gateway.error',
      'gateway.authWarning',
      'health.ok'
    ]
  },
  {
    name: 'a wrong token at gateway health',
    args: ['gateway', 'health'],
    target: wrong,
    code: 1,
    lines: /./
  },
  {
    name: 'a wrong token at gateway call --json',
    args: ['gateway', 'call', 'status', '--json'],
    target: wrong,
    code: 1,
    json: error
  },
  {
    name: 'a wrong token at gateway status --json',
    args: ['gateway', 'status', '--json'],
    target: wrong,
    code: 0,
    json: rpc.map((key) => `rpc.${key}`)
  },
  // The success in between resets the delay that answers repeated failures, which the probe would not wait for.
  {
    name: 'the right token after wrong ones',
    args: ['gateway', 'health', '--json'],
    code: 0,
    json: ['ok']
  },
  {
    name: 'a wrong token at gateway probe --json',
    args: ['gateway', 'probe', '--json'],
    target: wrong,
    code: 0,
    json: [...probe, ...target.map((key) => `targets.0.${key}`)]
  }
]

/** Runs each case against both gateways, in one subtest each. */
export async function cliTests(t: Test, pair: Pair): Promise<void> {
  for (const { name, args, target = right, home, code, json, lines } of cases) {
    await t.test(name, async (t) => {
      const [ours, reference] = await pair.both((gateway) => [...args, ...target(gateway)], home)
      t.equal(reference.code, code, 'the reference ends as recorded', reference)
      t.equal(ours.code, code, 'ours ends the same', ours)
      t.equal(shape(ours.stderr), shape(reference.stderr), 'the same on stderr')
      if (json !== undefined) t.same(pick(ours, json), pick(reference, json), 'the same JSON', ours)
      if (lines !== undefined) t.same(grep(ours, lines), grep(reference, lines), 'the same lines')
    })
  }
}

function pick(outcome: Outcome, paths: readonly string[]): unknown {
  const json = withoutFix(JSON.parse(outcome.stdout))
  return Object.fromEntries(paths.map((path) => [path, at(json, path)]))
}

function grep(outcome: Outcome, pattern: RegExp): readonly string[] {
  return outcome.stdout
    .split('\n')
    .filter((line) => pattern.test(line))
    .map(shape)
}
