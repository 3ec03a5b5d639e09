import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import http, { type IncomingHttpHeaders } from 'node:http'
import https from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import type { ClientOptions } from 'ws'
import { tempDir } from './gateway.ts'
import { makePair } from './tls.ts'

/** The fake machine's name in its tailnet, and its addresses. */
export const TAILNET_NAME = 'box.tail1.ts.net'
export const TAILNET_IPS = ['100.101.102.103', 'fd7a:115c:a1e0::6667']

/** A machine that can send requests. */
export interface TailnetPeer {
  /** Where its requests come from: a tailnet address, or a public one for a visitor through Funnel. */
  ip: string
  /** Its user's login; peers with the same login belong to the same user. */
  login?: string
  displayName?: string
  profilePic?: string
  /** A tagged machine belongs to no user. */
  tagged?: boolean
  /** A visitor from the internet, who gets in while the route is a Funnel, and whom whois does not know. */
  funnel?: boolean
}

/** A route to the gateway. */
export interface TailnetRoute {
  mode: 'serve' | 'funnel'
  /** `unix:/path`, a port, or `http://127.0.0.1:PORT`. */
  target: string
  /** A foreground route goes with its `tailscale` process, a background one stays. */
  by: 'foreground' | 'background'
}

/** How the fake tailnet is; `set` changes it while it runs. */
export interface TailnetSettings {
  /** By name: `alice` (owns the machine), `bob`, `runner` (tagged) and `public` (Funnel) unless told otherwise. */
  peers: Record<string, TailnetPeer>
  /** The peer whose user owns this machine. */
  owner: string
  /** This machine has a tag, and so no owner. */
  tagged: boolean
  /** The version of tailscaled and of the command. */
  version: string
  /** tailscaled's BackendState. */
  state: string
  /** How long an answer to whois takes; with `whoisFails` it is then a 500. */
  whoisDelayMs: number
  whoisFails: boolean
  /** `tailscale serve` and `funnel` say this and exit 1; undefined lets them work. */
  serveFails: string | undefined
  /** They claim the route, and never say so. */
  serveStalls: boolean
  /** They ignore SIGTERM. */
  serveIgnoresTerm: boolean
  /** A route that somebody else owns: it routes, and the port cannot be claimed. */
  route: TailnetRoute | undefined
}

/** What cannot change while the fake runs. */
export interface TailnetOptions extends Partial<TailnetSettings> {
  /** False for plain HTTP on the way to the fake; what the gateway sees is the same. True unless told otherwise. */
  tls?: boolean
  /** False for a tailscaled whose socket nobody can open, so that the command alone works. */
  localApi?: boolean
  /** The user that tailscaled runs as; needs root. */
  uid?: number
}

/** What a request through the tailnet got. */
export interface TailnetAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/**
 * A fake tailscaled in a process of its own, and a fake `tailscale` command: the LocalAPI on a Unix socket, the
 * command's arguments and output, and Serve's reverse proxy, as far as a gateway can tell them from the real ones.
 * Which peer a request comes from is chosen by the port it is sent to.
 *
 *     const tailnet = await startTailnet(t, { tagged: true })
 *     const gateway = await startProcess(t, { env: tailnet.env, config: … socket: tailnet.socket … })
 *     const { status } = await tailnet.request('alice', '/healthz')
 *     const client = await RawClient.open(...tailnet.webSocket('bob'))
 */
export interface Tailnet {
  /** tailscaled's socket, for `gateway.tailscale.socket`. */
  socket: string
  /** `PATH`, with the fake `tailscale` first. */
  env: { PATH: string }
  /** `https://box.tail1.ts.net`: what the browser of a peer sends as its Origin. */
  origin: string
  /** The certificate behind every URL, PEM. */
  ca: string
  /** Where a peer's requests go in: `https://127.0.0.1:PORT`. Send `Host: box.tail1.ts.net` there. */
  urlOf(peer: string): string
  /** Sends a request as a peer does: with the machine's name as its Host unless `headers` has another. */
  request(
    peer: string,
    path: string,
    options?: { method?: string; headers?: Record<string, string | string[]>; body?: string }
  ): Promise<TailnetAnswer>
  /** URL and options for a WebSocket that a peer opens. */
  webSocket(peer: string, path?: string, headers?: Record<string, string>): [string, ClientOptions]
  /** Changes how the tailnet is, from the next question on. */
  set(settings: Partial<TailnetSettings>): void
  /** What an operator's `tailscale serve --bg TARGET` does; it stays until `set({ route: undefined })`. */
  serve(target: string, mode?: 'serve' | 'funnel'): void
  /** The route that requests take; undefined when there is none. */
  route(): Promise<TailnetRoute | undefined>
  /** The arguments of every `tailscale` command so far, in order, without `--socket PATH`. */
  calls(): string[][]
  /** The same, with all arguments. */
  rawCalls(): string[][]
  /** The paths that were asked of the LocalAPI's socket so far. */
  lookups(): string[]
  /** The process of the `tailscale serve` that holds the route; undefined when none does. */
  claimant(): Promise<number | undefined>
  /** Ends tailscaled with SIGKILL. Its commands and routes go, its socket's file stays. */
  kill(): Promise<void>
  /** Starts it again, on the same ports. */
  start(): Promise<void>
}

/** What the fake's processes read: the settings and what cannot change. */
export interface TailnetFile extends TailnetSettings {
  name: string
  ips: readonly string[]
  tls: boolean
  localApi: boolean
  /** By peer; 0 before the first start. */
  ports: Record<string, number>
}

/** Starts a tailnet of fakes that is gone after the test. */
export async function startTailnet(t: Test, options: TailnetOptions = {}): Promise<Tailnet> {
  const dir = tempDir(t)
  const { key, cert } = await makePair({ names: [TAILNET_NAME, '127.0.0.1'] })
  const { uid, ...given } = options
  const settings: TailnetFile = {
    peers: {
      alice: {
        ip: '100.64.0.1',
        login: 'alice@example.com',
        displayName: 'Alice',
        profilePic: 'https://example.com/a.png'
      },
      bob: { ip: '100.64.0.2', login: 'bob@example.com', displayName: 'Jürgen Böb' },
      runner: { ip: '100.64.0.3', tagged: true },
      public: { ip: '203.0.113.9', funnel: true }
    },
    owner: 'alice',
    tagged: false,
    version: '1.94.1',
    state: 'Running',
    whoisDelayMs: 0,
    whoisFails: false,
    serveFails: undefined,
    serveStalls: false,
    serveIgnoresTerm: false,
    route: undefined,
    name: TAILNET_NAME,
    ips: TAILNET_IPS,
    tls: true,
    localApi: true,
    ports: {},
    ...given
  }
  const save = () => {
    // Whole or not at all: the processes read it at any time.
    writeFileSync(join(dir, 'settings.new'), JSON.stringify(settings))
    renameSync(join(dir, 'settings.new'), join(dir, 'settings.json'))
  }
  settings.ports = Object.fromEntries(Object.keys(settings.peers).map((name) => [name, 0]))
  save()
  writeFileSync(join(dir, 'key.pem'), key)
  writeFileSync(join(dir, 'cert.pem'), cert)
  const fake = (name: string) => new URL(name, import.meta.url).pathname
  mkdirSync(join(dir, 'bin'))
  const command = `#!/bin/sh\nexec '${process.execPath}' '${fake('fake-tailscale.ts')}' '${dir}' "$@"\n`
  writeFileSync(join(dir, 'bin', 'tailscale'), command, { mode: 0o755 })
  if (uid !== undefined) {
    chownSync(dir, uid, uid)
    chmodSync(dir, 0o755)
  }

  let daemon: ChildProcess | undefined
  const start = async () => {
    const user = uid === undefined ? {} : { uid, gid: uid }
    const child = spawn(process.execPath, [fake('fake-tailscaled.ts'), dir], {
      stdio: ['pipe', 'pipe', 'inherit'],
      ...user
    })
    daemon = child
    const lines = createInterface({ input: child.stdout })
    const [ports] = (await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(() => Promise.reject(new Error('the fake tailscaled did not start')))
    ])) as [string]
    settings.ports = JSON.parse(ports)
    save()
  }
  const kill = async () => {
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return
    const gone = once(daemon, 'exit')
    daemon.kill('SIGKILL')
    await gone
  }
  t.teardown(kill)
  await start()

  const urlOf = (peer: string) => {
    const port = settings.ports[peer]
    if (port === undefined) throw new Error(`no peer ${peer}`)
    return `http${settings.tls ? 's' : ''}://127.0.0.1:${port}`
  }
  const linesOf = (name: string) => {
    const file = join(dir, name)
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []
  }
  const rawCalls = () => linesOf('calls').map((line) => JSON.parse(line) as string[])
  const ask = async (path: string) => {
    const { body } = await send(http.request({ socketPath: join(dir, 'cli.sock'), path, agent: false }))
    return JSON.parse(body)
  }
  const set = (changes: Partial<TailnetSettings>) => {
    Object.assign(settings, changes)
    save()
  }
  return {
    socket: join(dir, 'tailscaled.sock'),
    env: { PATH: `${join(dir, 'bin')}:${process.env.PATH}` },
    origin: `https://${TAILNET_NAME}`,
    ca: cert,
    urlOf,
    request(peer, path, { method = 'GET', headers = {}, body } = {}) {
      const { request } = settings.tls ? https : http
      const all = { host: TAILNET_NAME, ...headers }
      return send(request(urlOf(peer) + path, { method, headers: all, ca: cert, agent: false }), body)
    },
    webSocket: (peer, path = '/', headers = {}) => [
      urlOf(peer).replace('http', 'ws') + path,
      { ca: cert, headers: { host: TAILNET_NAME, ...headers } }
    ],
    set,
    serve: (target, mode = 'serve') => set({ route: { mode, target, by: 'background' } }),
    route: async () => (await ask('/fake/route')).route,
    claimant: async () => (await ask('/fake/route')).claimant,
    rawCalls,
    calls: () => rawCalls().map((args) => (args[0] === '--socket' ? args.slice(2) : args)),
    lookups: () => linesOf('lookups'),
    kill,
    start
  }
}

function send(request: http.ClientRequest, body?: string): Promise<TailnetAnswer> {
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.on('response', (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      answer.on('error', reject)
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }))
    })
    request.end(body)
  })
}
