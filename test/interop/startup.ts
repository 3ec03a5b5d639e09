import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Test } from 'tap'
import { cleanEnv, freePort } from '../../scripts/gateway-process.ts'
import { ensureReference } from '../../scripts/reference.ts'
import { titleOf } from './answer.ts'
import { oursMain } from './pair.ts'

/** A configuration with which neither gateway starts. */
interface Refusal {
  name: string
  /** The file: its `gateway` section beside `mode`, or its text; none at all without it. */
  file?: Record<string, unknown> | string
  args?: readonly string[]
  exit?: number
  /** What both say. */
  words: readonly string[]
  differs?: string
  /** What ours says in place of `words`; with code 0 it starts, and stops when told to. */
  ours?: { exit?: number; words: readonly string[] }
}

const auth = { mode: 'token', token: 'a-token-0123456789' }
const proxy = { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-user' } }
const loopback = ['--bind', 'loopback']

const refusals: readonly Refusal[] = [
  {
    name: 'D9: no file',
    words: ['Missing config'],
    differs: 'D9: the first start writes one',
    ours: { exit: 0, words: ['is ready on', 'Wrote '] }
  },
  {
    name: 'a file without gateway.mode',
    file: '{ "gateway": {} }',
    words: ['Gateway start blocked: existing config is missing gateway.mode', '--allow-unconfigured']
  },
  {
    name: 'mode remote',
    file: '{ "gateway": { "mode": "remote" } }',
    words: ['Gateway start blocked: set gateway.mode=local (current: remote) or pass --allow-unconfigured.']
  },
  {
    name: 'a file that is no JSON5',
    file: '{ gateway: {\n  mode: "local",,\n} }',
    words: ['existing config is missing gateway.mode'],
    differs: 'D8: the file, the line and the column',
    ours: { words: ['openclaw.json:2:17'] }
  },
  {
    name: 'an unknown key',
    file: { auth, bogusKey: 1 },
    args: loopback,
    words: ['Invalid config at', 'openclaw.json:1 — gateway: Unrecognized key: "bogusKey"']
  },
  {
    name: 'an unknown auth mode',
    file: { auth: { ...auth, mode: 'wat' } },
    args: loopback,
    words: ['gateway.auth.mode: Invalid input (allowed: "none", "token", "password", "trusted-proxy"), got: "wat"']
  },
  {
    name: 'a port that is no number',
    file: { auth, port: 'abc' },
    args: loopback,
    words: ['gateway.port: Invalid input: expected number, received string']
  },
  {
    name: 'trusted-proxy without trustedProxies',
    file: { auth: proxy },
    args: loopback,
    words: [
      'gateway auth mode=trusted-proxy requires gateway.trustedProxies to be configured with at least one proxy IP'
    ]
  },
  {
    name: 'trustedProxy without userHeader',
    file: { auth: { ...proxy, trustedProxy: {} }, trustedProxies: ['10.0.0.1'] },
    args: loopback,
    words: ['gateway.auth.trustedProxy.userHeader: Invalid input: expected string, received undefined']
  },
  {
    name: 'R3: every address, without auth',
    file: { auth: { mode: 'none' } },
    args: ['--bind', 'lan'],
    words: ['Refusing to bind gateway to lan without auth', 'OPENCLAW_GATEWAY_TOKEN', 'OPENCLAW_GATEWAY_PASSWORD']
  },
  {
    name: 'R3: every address, without a secret',
    file: { bind: 'lan' },
    words: ['Refusing to bind gateway to lan without auth', 'OPENCLAW_GATEWAY_TOKEN', 'OPENCLAW_GATEWAY_PASSWORD']
  },
  {
    name: 'Funnel with a token',
    file: { auth, tailscale: { mode: 'funnel' } },
    args: loopback,
    words: [
      'tailscale funnel requires gateway auth mode=password',
      'gateway.auth.password or OPENCLAW_GATEWAY_PASSWORD'
    ]
  },
  {
    name: 'Funnel with a proxy',
    file: { auth: proxy, trustedProxies: ['10.0.0.1'], tailscale: { mode: 'funnel' } },
    args: loopback,
    words: ['tailscale funnel requires gateway auth mode=password']
  },
  {
    name: 'Serve beyond loopback',
    file: { auth, tailscale: { mode: 'serve' }, bind: 'lan' },
    words: ['gateway.bind must resolve to loopback when gateway.tailscale.mode=serve'],
    differs: 'the refusal is in our own words',
    ours: { words: ['tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)'] }
  },
  {
    name: 'S11: Serve without auth',
    file: { auth: { mode: 'none' }, tailscale: { mode: 'serve' } },
    args: loopback,
    words: [
      'gateway.auth.mode=none cannot be used with gateway.tailscale.mode=serve; configure token, password, or trusted-proxy auth before exposing the gateway through Tailscale'
    ]
  },
  {
    name: 'password mode without a password',
    file: { auth: { mode: 'password' } },
    args: loopback,
    words: [
      'Gateway auth is set to password, but no password is configured.',
      'Set gateway.auth.password (or OPENCLAW_GATEWAY_PASSWORD), or pass --password.'
    ]
  },
  {
    name: 'identityScopes with a scope that is none',
    file: { auth: { ...auth, identityScopes: { 'a@b.c': ['operator.bogus'] } } },
    args: loopback,
    words: ['openclaw.json:1 — gateway.auth.identityScopes["a@b.c"][0]: Invalid option', 'got: "operator.bogus"']
  },
  {
    name: '--bind nowhere',
    file: { auth },
    args: ['--bind', 'nowhere'],
    exit: 1,
    words: ['Invalid --bind. Use "loopback", "lan", "tailnet", "auto", or "custom".']
  },
  {
    name: '--auth wat',
    file: { auth },
    args: ['--auth', 'wat'],
    exit: 1,
    words: ['Invalid --auth. Use "none", "token", "password", or "trusted-proxy".']
  },
  {
    name: '--port 99999',
    file: { auth },
    args: ['--port', '99999'],
    exit: 1,
    words: ['Invalid --port. Use a port number from 1 to 65535, for example 18789.']
  }
]

/** Starts that both refuse (§11), by the same exit code and the same words. */
export async function startupTests(t: Test): Promise<void> {
  const reference = ensureReference()
  t.jobs = 2
  for (const item of refusals) {
    t.test(titleOf(item), async (t) => {
      const { exit = 78, words, ours } = item
      const [mine, theirs] = await Promise.all([start(oursMain, item), start(reference, item)])
      t.equal(theirs.code, exit, 'the reference refuses as recorded', theirs)
      t.equal(mine.code, ours?.exit ?? exit, 'ours ends so', mine)
      for (const each of words) t.match(theirs.output, each)
      for (const each of ours?.words ?? words) t.match(mine.output, each)
      if (item.differs !== undefined) t.notMatch(mine.output, words[0]!, item.differs)
    })
  }
}

async function start(command: string, { file, args = [] }: Refusal): Promise<{ code: number | null; output: string }> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'interop-'))
  const stateDir = path.join(home, '.openclaw')
  mkdirSync(stateDir, { mode: 0o700 })
  if (file !== undefined) {
    const text = typeof file === 'string' ? file : JSON.stringify({ gateway: { mode: 'local', ...file } })
    writeFileSync(path.join(stateDir, 'openclaw.json'), text, { mode: 0o600 })
  }
  const port = args.includes('--port') ? [] : ['--port', String(await freePort())]
  const child = spawn(process.execPath, [command, 'gateway', 'run', ...port, ...args], {
    cwd: home,
    env: { ...cleanEnv(home), OPENCLAW_STATE_DIR: stateDir },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (!child.killed && output.includes('is ready on')) child.kill('SIGTERM')
    })
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  rmSync(home, { recursive: true, force: true })
  return { code, output }
}
