// A fake tailscaled: the LocalAPI, the fake command's door, and Serve's reverse proxy with one port a peer. Started by
// `startTailnet` with the fake's folder as its argument; prints the ports, and ends with its input.
import { appendFileSync, chmodSync, readFileSync, rmSync } from 'node:fs'
import http, { type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import https from 'node:https'
import { type AddressInfo, isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TailnetFile, TailnetPeer, TailnetRoute } from './tailscaled.ts'

const dir = process.argv[2]!
const read = () => JSON.parse(readFileSync(`${dir}/settings.json`, 'utf8')) as TailnetFile
const claims = new Map<ServerResponse, TailnetRoute & { pid: number }>()

function currentRoute(): TailnetRoute | undefined {
  const [claim] = claims.values()
  return claim === undefined ? read().route : { mode: claim.mode, target: claim.target, by: 'foreground' }
}

// --- Who is who

const TAGGED_DEVICES = { ID: 9_999, LoginName: 'tagged-devices', DisplayName: 'Tagged Devices', ProfilePicURL: '' }

function userOf(peer: TailnetPeer, { peers }: TailnetFile) {
  if (peer.tagged === true) return TAGGED_DEVICES
  const logins = [...new Set(Object.values(peers).map(({ login }) => login))]
  return {
    ID: 1_001 + logins.indexOf(peer.login),
    LoginName: peer.login ?? '',
    DisplayName: peer.displayName ?? '',
    ProfilePicURL: peer.profilePic ?? ''
  }
}

function self(settings: TailnetFile): TailnetPeer {
  return { ...settings.peers[settings.owner]!, ip: settings.ips[0]!, tagged: settings.tagged }
}

function whois(settings: TailnetFile, text: string): unknown {
  const ip = isIP(text) ? text : text.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  const peers = Object.entries(settings.peers).filter(([, { funnel }]) => funnel !== true)
  const found = settings.ips.includes(ip)
    ? (['box', self(settings)] as const)
    : peers.find(([, peer]) => peer.ip === ip)
  if (found === undefined) return undefined
  const [name, peer] = found
  const user = userOf(peer, settings)
  return {
    Node: {
      ID: 100 + peers.findIndex(([each]) => each === name),
      StableID: `n${name}CNTRL`,
      Name: `${name}.tail1.ts.net.`,
      User: user.ID,
      Addresses: [`${ip}/${ip.includes(':') ? 128 : 32}`],
      ...(peer.tagged === true ? { Tags: ['tag:fake'] } : {})
    },
    UserProfile: user,
    CapMap: null
  }
}

function status(settings: TailnetFile, peers: boolean): unknown {
  const own = self(settings)
  const user = userOf(own, settings)
  const named = settings.state === 'Running' || settings.state === 'Starting'
  const users = Object.values(settings.peers).map((peer) => userOf(peer, settings))
  return {
    Version: `${settings.version}-tfake`,
    BackendState: settings.state,
    TailscaleIPs: named ? settings.ips : null,
    Self: {
      ID: 'nboxCNTRL',
      UserID: named ? user.ID : 0,
      HostName: 'box',
      DNSName: named ? `${settings.name}.` : '',
      TailscaleIPs: named ? settings.ips : null,
      Online: settings.state === 'Running',
      ...(own.tagged === true ? { Tags: ['tag:fake'] } : {})
    },
    // The real one leaves the users out with the peers.
    User: peers && named ? Object.fromEntries([user, ...users].map((each) => [each.ID, each])) : null,
    MagicDNSSuffix: 'tail1.ts.net',
    CurrentTailnet: { Name: 'example.com', MagicDNSSuffix: 'tail1.ts.net', MagicDNSEnabled: true },
    CertDomains: named ? [settings.name] : null
  }
}

// --- The LocalAPI, and what the fake command asks beside it

function json(response: ServerResponse, code: number, value: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

function localApi(request: IncomingMessage, response: ServerResponse): void {
  const settings = read()
  const { pathname, searchParams } = new URL(request.url!, 'http://local')
  if (request.headers.host !== 'local-tailscaled.sock') response.writeHead(403).end('invalid localapi request')
  else if (pathname === '/localapi/v0/status') {
    json(response, 200, status(settings, searchParams.get('peers') !== 'false'))
  } else if (pathname === '/localapi/v0/whois') {
    setTimeout(() => {
      const found = whois(settings, searchParams.get('addr') ?? '')
      if (settings.whoisFails) response.writeHead(500).end('whois failed')
      else if (found === undefined) response.writeHead(404).end('no match for IP:port')
      else json(response, 200, found)
    }, settings.whoisDelayMs)
  } else response.writeHead(404).end('unknown')
}

function commandDoor(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url!, 'http://local')
  if (pathname === '/fake/claim') claim(response, searchParams)
  else if (pathname === '/fake/serve-status') json(response, 200, serveStatus())
  else if (pathname === '/fake/route') {
    const [first] = claims.values()
    json(response, 200, { route: currentRoute(), claimant: first?.pid })
  } else localApi(request, response)
}

function claim(response: ServerResponse, query: URLSearchParams): void {
  const taken = currentRoute()
  if (taken !== undefined) {
    const free = taken.by === 'foreground' ? 'end the other session' : 'run: tailscale serve --https=443 off'
    response.writeHead(409).end(`listener already exists for port 443 (${taken.by}); ${free}`)
    return
  }
  const mode = query.get('mode') === 'funnel' ? 'funnel' : 'serve'
  claims.set(response, { mode, target: query.get('target')!, by: 'foreground', pid: Number(query.get('pid')) })
  response.on('close', () => claims.delete(response))
  response.writeHead(200).write('claimed')
}

function serveStatus(): unknown {
  const route = currentRoute()
  if (route === undefined) return {}
  const { name } = read()
  const root = { Proxy: /^\d+$/.test(route.target) ? `http://127.0.0.1:${route.target}` : route.target }
  const config = {
    TCP: { 443: { HTTPS: true } },
    Web: { [`${name}:443`]: { Handlers: { '/': root } } },
    ...(route.mode === 'funnel' ? { AllowFunnel: { [`${name}:443`]: true } } : {})
  }
  return route.by === 'background' ? config : { Foreground: { session1: config } }
}

// --- The reverse proxy

const hopByHop =
  /^(connection|keep-alive|proxy-connection|proxy-authenticate|proxy-authorization|te|trailer|transfer-encoding|upgrade)$/
const replaced =
  /^(host|forwarded|x-forwarded-(for|host|proto)|tailscale-(user-login|user-name|user-profile-pic|funnel-request|headers-info))$/

// Raw, so that doubled headers, and names that only look like others, arrive as they were sent.
function forwarded(request: IncomingMessage, peer: TailnetPeer, target: Target): string[] {
  const { connection = '', upgrade } = request.headers
  const listed = connection.split(',').map((name) => name.trim().toLowerCase())
  const host = request.headers.host ?? ''
  const headers = ['Host', 'socketPath' in target ? 'localhost' : host]
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i]!.toLowerCase()
    if (hopByHop.test(name) || listed.includes(name) || replaced.test(name)) continue
    headers.push(request.rawHeaders[i]!, request.rawHeaders[i + 1]!)
  }
  headers.push('X-Forwarded-For', peer.ip, 'X-Forwarded-Host', host, 'X-Forwarded-Proto', 'https')
  if (request.headers['transfer-encoding'] !== undefined) headers.push('Transfer-Encoding', 'chunked')
  if (upgrade !== undefined && listed.includes('upgrade')) headers.push('Connection', 'Upgrade', 'Upgrade', upgrade)
  return [...headers, ...identity(peer)]
}

function identity(peer: TailnetPeer): string[] {
  if (peer.funnel === true) return ['Tailscale-Funnel-Request', '?1']
  const settings = read()
  if (peer.tagged === true || whois(settings, peer.ip) === undefined) return []
  const { LoginName, DisplayName, ProfilePicURL } = userOf(peer, settings)
  const named = ['Tailscale-User-Login', encoded(LoginName), 'Tailscale-User-Name', encoded(DisplayName)]
  const info = ['Tailscale-Headers-Info', 'https://tailscale.com/s/serve-headers']
  return [...named, 'Tailscale-User-Profile-Pic', ProfilePicURL, ...info]
}

// RFC 2047, Q encoding: words of at most 75 characters, split between characters.
function encoded(text: string): string {
  if (/^[ -~\t]*$/.test(text)) return text
  const words = ['']
  for (const character of text) {
    const plain = /^[!-~]$/.test(character) && !/[=?_]/.test(character)
    const bytes = [...Buffer.from(character)].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    const piece = character === ' ' ? '_' : plain ? character : bytes.join('')
    if (words.at(-1)!.length + piece.length > 63) words.push('')
    words[words.length - 1] += piece
  }
  return words.map((word) => `=?utf-8?q?${word}?=`).join(' ')
}

type Target = { socketPath: string } | { host: string; port: number }

// Undefined when nothing listens on port 443 for this peer, as for a connection that is refused.
function targetFor(peer: TailnetPeer): Target | undefined {
  const route = currentRoute()
  if (route === undefined || (peer.funnel === true && route.mode !== 'funnel')) return undefined
  if (route.target.startsWith('unix:')) return { socketPath: route.target.slice('unix:'.length) }
  const { hostname, port } = new URL(/^\d+$/.test(route.target) ? `http://127.0.0.1:${route.target}` : route.target)
  return { host: hostname, port: Number(port) }
}

function onward(request: IncomingMessage, peer: TailnetPeer, target: Target): http.ClientRequest {
  const { method, url } = request
  const onward = http.request({
    ...target,
    method: method!,
    path: url!,
    agent: false,
    headers: forwarded(request, peer, target)
  })
  return onward.on('error', () => {})
}

function proxy(name: string): RequestListener {
  return (request, response) => {
    const peer = read().peers[name]!
    const target = targetFor(peer)
    if (target === undefined) return void request.socket.destroy()
    const ask = onward(request, peer, target)
    ask.on('error', () => {
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end()
    })
    ask.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.statusMessage, endToEnd(answer))
      answer.on('error', () => response.destroy())
      answer.pipe(response)
    })
    response.on('close', () => ask.destroy())
    request.pipe(ask)
  }
}

function upgrade(name: string) {
  return (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const peer = read().peers[name]!
    const target = targetFor(peer)
    socket.on('error', () => {})
    if (target === undefined) return void socket.destroy()
    const ask = onward(request, peer, target)
    const answerWith = ({ statusCode, statusMessage }: IncomingMessage, headers: string[]) => {
      const lines = headers.flatMap((text, index) => (index % 2 === 0 ? `${text}: ${headers[index + 1]}\r\n` : []))
      socket.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines.join('')}\r\n`)
    }
    ask.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'))
    ask.on('response', (answer) => {
      answerWith(answer, [...endToEnd(answer), 'Connection', 'close'])
      answer.on('error', () => socket.destroy()).pipe(socket)
    })
    ask.on('upgrade', (answer, backend, first) => {
      answerWith(answer, answer.rawHeaders)
      backend.on('error', () => socket.destroy())
      socket.on('close', () => backend.destroy())
      backend.on('close', () => socket.destroy())
      socket.write(first)
      backend.write(head)
      socket.pipe(backend).pipe(socket)
    })
    ask.end()
  }
}

function endToEnd({ rawHeaders, headers }: IncomingMessage): string[] {
  const listed = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase())
  return rawHeaders.flatMap((name, index) =>
    index % 2 === 1 || hopByHop.test(name.toLowerCase()) || listed.includes(name.toLowerCase())
      ? []
      : [name, rawHeaders[index + 1]!]
  )
}

// --- Start

async function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  if ('path' in where) rmSync(where.path, { force: true })
  await new Promise<void>((resolve) => server.listen(where, resolve))
}

const settings = read()
const ports: Record<string, number> = {}
for (const [name, port] of Object.entries(settings.ports)) {
  const handler = proxy(name)
  const server = settings.tls
    ? https.createServer({ key: readFileSync(`${dir}/key.pem`), cert: readFileSync(`${dir}/cert.pem`) }, handler)
    : http.createServer(handler)
  server.on('upgrade', upgrade(name))
  await listen(server, { host: '127.0.0.1', port })
  ports[name] = (server.address() as AddressInfo).port
}
await listen(http.createServer(commandDoor), { path: `${dir}/cli.sock` })
if (settings.localApi) {
  const server = http.createServer((request, response) => {
    appendFileSync(`${dir}/lookups`, `${request.url}\n`)
    localApi(request, response)
  })
  await listen(server, { path: `${dir}/tailscaled.sock` })
  chmodSync(`${dir}/tailscaled.sock`, 0o666)
}
process.stdin.resume().on('end', () => process.exit(0))
console.log(JSON.stringify(ports))
