import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Test } from 'tap'
import { cleanEnv, type GatewayProcess } from '../../scripts/gateway-process.ts'
import { ensureReference } from '../../scripts/reference.ts'
import { type Outcome, oursMain, runIn, startPair } from './pair.ts'

type Json = Record<string, unknown>

/** One command, of both CLIs against both gateways. */
interface Row {
  args: readonly string[]
  /** The exit code of all four. */
  code?: number
  /** Where ours ends otherwise, and why. */
  ourCode?: readonly [code: number, why: string]
  /** The credential that the configuration has, in place of the right one. */
  token?: string
  /** A port that nobody listens on, in place of the gateway's. */
  nobody?: true
}

const wrong = 'not-the-token'
const rows: readonly Row[] = [
  { args: ['health'] },
  { args: ['health', '--verbose'] },
  { args: ['status'] },
  { args: ['status', '--deep'] },
  { args: ['status', '--all'] },
  { args: ['gateway', 'health'] },
  { args: ['gateway', 'status'] },
  { args: ['gateway', 'status', '--deep'] },
  { args: ['gateway', 'status', '--require-rpc'] },
  { args: ['gateway', 'status', '--no-probe'] },
  { args: ['gateway', 'probe'] },
  { args: ['gateway', 'call', 'health'] },
  { args: ['gateway', 'call', 'status'] },
  { args: ['gateway', 'call', 'system-presence'] },
  { args: ['gateway', 'call', 'no.such.method'], code: 1 },
  {
    args: ['gateway', 'call', 'status', '--params', '[]'],
    ourCode: [1, 'with what is wrong: the params of a call are an object']
  },
  { args: ['gateway', 'status', '--require-rpc', '--no-probe'], code: 1 },
  { args: ['gateway', 'call', 'status'], token: wrong, code: 1 },
  { args: ['gateway', 'status'], token: wrong },
  { args: ['health', '--timeout', '4000'], nobody: true, code: 1 },
  { args: ['status', '--timeout', '4000'], nobody: true },
  { args: ['gateway', 'call', 'status', '--timeout', '4000'], nobody: true, code: 1 },
  { args: ['gateway', 'status', '--timeout', '4000'], nobody: true },
  { args: ['gateway', 'status', '--require-rpc', '--timeout', '4000'], nobody: true, code: 1 },
  { args: ['gateway', 'probe', '--timeout', '2000'], nobody: true, code: 1 }
]

const ownWords = 'what is wrong is said in words of its own, with what mends it'
const wholeAnswer = 'ours asks with all scopes, so that the answer shows what the credential is good for'

/** Fields that both have, whose values are each CLI's own, and why; by the command and the path. */
const differences: readonly (readonly [field: RegExp, why: string])[] = [
  [/: cli\.(version|entrypoint)$/, 'each is itself'],
  [/: (error\.message|gateway\.error|rpc\.error|targets\.0\.connect\.error|warnings\.0\.message)$/, ownWords],
  [/^gateway call.*: error\.code$/, 'the code of the refusal, which the reference has in details.code alone'],
  [/^gateway status.*: logFile$/, 'ours logs into the state folder, the reference into the folder of temporary files'],
  [/^gateway status.*: gateway\.portSource$/, 'ours tells the environment from the file'],
  [/^gateway status.*: port\.listeners\.0\.command$/, 'ours is not cut after 15 letters'],
  [/^gateway status.*: rpc\.kind$/, 'ours always makes a read call; the reference with --require-rpc'],
  [/^gateway status.*: rpc\.(capability|auth\.capability|auth\.scopes\.0)$/, wholeAnswer],
  [
    /^gateway probe.*: (degraded|capability|targets\.0\.(connect\.(rpcOk|scopeLimited)|auth\.capability))$/,
    wholeAnswer
  ],
  [/: (service|gatewayService|nodeService)\.(label|loadedText|runtime\.\w+)$/, 'what keeps services is named as it is'],
  [/^status.*: sessions\.(defaults\.(model|contextTokens)|byAgent\.0\.path)$/, wholeAnswer]
]

/** Parts of the reference's answers that ours have not, and why. */
const absent: readonly (readonly [part: RegExp, why: string])[] = [
  [
    /^status.*: (agents|memory|memoryPlugin|secretDiagnostics|collection|lastHeartbeat)$/,
    'what the agents of a host have is for the agents'
  ],
  [/^status.*: (update|updateChannel|updateChannelSource)$/, 'updates are for the package manager'],
  [
    /^gateway status.*: (hostDesktop|pluginVersionDrift)$|^status --all.*: pluginCompatibility$/,
    'there are no desktops and no plugins here'
  ],
  [/^gateway status.*: extraServices$/, 'ours looks for other services with --deep alone'],
  [/^gateway probe.*: discovery$/, 'ours searches the network with --ssh-auto alone'],
  [
    /^status --timeout.*: (runtimeVersion|heartbeat|channelSummary|queuedSystemEvents|sessions|tasks|taskAudit|hostDesktop|degraded\w+)$/,
    'what a gateway says of itself is not made up while it does not answer'
  ]
]

/** Both CLIs against both gateways, with the gateways' own configuration files. */
export async function bothCliTests(t: Test): Promise<void> {
  const setup = { gateway: (token: string) => ({ auth: { mode: 'token', token } }) }
  const pair = await startPair({ ours: setup, reference: setup })
  t.teardown(() => pair.stop())
  const used = new Set<RegExp>()
  const listed = (list: typeof differences, field: string) => {
    const found = list.find(([pattern]) => pattern.test(field))
    if (found !== undefined) used.add(found[0])
    return found !== undefined
  }
  for (const row of rows) {
    const command = row.args.join(' ')
    await t.test(
      `${command}${row.token ? ' (a wrong token)' : ''}${row.nobody ? ' (nobody there)' : ''}`,
      async (t) => {
        for (const gateway of [pair.ours, pair.reference]) {
          const at = gateway === pair.ours ? 'ours' : 'the reference'
          const text = await bothSay(row, gateway, [])
          const json = await bothSay(row, gateway, ['--json'])
          for (const { ours, reference } of [text, json]) {
            const [code, why] = row.ourCode ?? [row.code ?? 0, 'the same']
            t.equal(reference.code, row.code ?? 0, `the reference CLI at ${at} ends as recorded`, reference)
            t.equal(ours.code, code, `ours at ${at} ends ${why}`, ours)
          }
          if (row.ourCode !== undefined) continue
          const mine = leavesOf(json.ours)
          const theirs = leavesOf(json.reference)
          const unlike = [...mine].filter(([key, value]) => theirs.has(key) && theirs.get(key) !== value)
          t.same(
            unlike
              .filter(([key]) => !listed(differences, `${command}: ${key}`))
              .map(([key, value]) => ({ field: key, ours: value, reference: theirs.get(key) })),
            [],
            `at ${at}, what both tell is the same but for what is listed`
          )
          const lacking = partsOf(theirs).filter((part) => !partsOf(mine).includes(part))
          t.same(
            lacking.filter((part) => !listed(absent, `${command}: ${part}`)),
            [],
            `at ${at}, ours tells what the reference does but for what is listed`
          )
        }
      }
    )
  }
  t.same(
    [...differences, ...absent].filter(([pattern]) => !used.has(pattern)).map(([pattern]) => String(pattern)),
    [],
    'what is the same by now is not listed as a difference'
  )
}

async function bothSay({ args, token, nobody }: Row, gateway: GatewayProcess, more: readonly string[]) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'interop-'))
  const config = path.join(gateway.stateDir, 'openclaw.json')
  const other = path.join(folder, 'openclaw.json')
  const text = { gateway: { mode: 'local', auth: { mode: 'token', token } } }
  if (token !== undefined) writeFileSync(other, JSON.stringify(text), { mode: 0o600 })
  const say = async (main: string, configPath = token === undefined ? config : other, words = [...args, ...more]) => {
    // A state folder of its own: the owner's socket in the gateway's would not be the network.
    const home = mkdtempSync(path.join(folder, 'home-'))
    const places = { OPENCLAW_STATE_DIR: path.join(home, '.openclaw'), OPENCLAW_CONFIG_PATH: configPath }
    const port = nobody === true ? '9' : String(gateway.port)
    return runIn(home, main, words, { ...cleanEnv(home), ...places, OPENCLAW_GATEWAY_PORT: port })
  }
  try {
    const [ours, reference] = await Promise.all([say(oursMain), say(ensureReference())])
    // A gateway answers each wrong guess later than the one before; a right one in between resets that.
    if (token !== undefined) await say(oursMain, config, ['gateway', 'call', 'health'])
    return { ours, reference }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Every value of an answer by its path; of numbers, that it is one. */
function leavesOf({ stdout }: Outcome): Map<string, string> {
  const found = new Map<string, string>()
  const walk = (value: unknown, at: string): void => {
    if (typeof value === 'object' && value !== null && Object.keys(value).length > 0) {
      for (const [key, next] of Object.entries(value as Json)) walk(next, at === '' ? key : `${at}.${key}`)
    } else found.set(at, typeof value === 'number' ? 'a number' : JSON.stringify(value))
  }
  walk(JSON.parse(stdout), '')
  return found
}

function partsOf(leaves: Map<string, string>): string[] {
  return [...new Set([...leaves.keys()].map((key) => key.split('.')[0]!))]
}
