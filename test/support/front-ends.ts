import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { findProgram } from '../../scripts/debian.ts'
import { tempDir } from './gateway.ts'

/** Who the proxies let in, all with the same password. */
const USERS = ['alice@example.com', 'boss@example.com']
export const PASSWORD = 'opensesame'
// bcrypt of it, cheap on purpose: Caddy checks it with every request.
const BCRYPT = '$2b$04$fRRXh0DE5PfQHIJ3XW7DgeLsVWGObjLcG1efGQf.lcPAiYnkRMErS'

/** A reverse proxy that asks for a password and tells the gateway who gave it. */
export interface FrontEnd {
  name: 'nginx' | 'caddy'
  /** Its program; undefined where it is not installed. */
  program: string | undefined
  /** Starts it in front of `127.0.0.1:PORT` or `unix:/path`. */
  start(t: Test, listen: { host: string; port: number }, upstream: string): Promise<void>
}

/** The proxies that people use, with the configuration that the guide gives. */
export const FRONT_ENDS: readonly FrontEnd[] = [
  { name: 'nginx', program: findProgram(['nginx']), start: startNginx },
  { name: 'caddy', program: findProgram(['caddy']), start: startCaddy }
]

const GUIDE = readFileSync(new URL('../../docs/remote-access.md', import.meta.url), 'utf8')

// A configuration as the guide gives it, with what is different here; the guide is wrong when a line is not there.
function fromGuide(language: string, changes: Record<string, string>): string {
  let text = new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(GUIDE)?.[1] ?? ''
  for (const [line, other] of Object.entries(changes)) {
    if (!text.includes(line)) throw new Error(`the guide's ${language} has no "${line}"`)
    text = text.replace(line, () => other)
  }
  return text
}

async function startNginx(t: Test, listen: { host: string; port: number }, upstream: string): Promise<void> {
  const dir = tempDir(t)
  mkdirSync(join(dir, 'tmp'))
  writeFileSync(join(dir, 'users'), USERS.map((user) => `${user}:{PLAIN}${PASSWORD}\n`).join(''))
  const server = fromGuide('nginx', {
    'listen 443 ssl;': `listen ${listen.host}:${listen.port};`,
    'server_name gateway.example.com;': '',
    'ssl_certificate /etc/ssl/gateway.pem;': '',
    'ssl_certificate_key /etc/ssl/gateway-key.pem;': '',
    '/etc/nginx/gateway-users': join(dir, 'users'),
    'http://unix:/run/openclaw/proxy.sock:': upstream.startsWith('unix:') ? `http://${upstream}:` : `http://${upstream}`
  })
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/pid; error_log stderr error;
events {}
http {
  access_log off;
  client_body_temp_path ${dir}/tmp; proxy_temp_path ${dir}/tmp; fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp; scgi_temp_path ${dir}/tmp;
  ${server}
}
`
  )
  await run(
    t,
    spawn(findProgram(['nginx'])!, ['-c', join(dir, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] }),
    listen
  )
}

async function startCaddy(t: Test, listen: { host: string; port: number }, upstream: string): Promise<void> {
  const dir = tempDir(t)
  const site = fromGuide('caddyfile', {
    'gateway.example.com {': `http://:${listen.port} {\n  bind ${listen.host}`,
    'you@example.com HASH': USERS.map((user) => `${user} ${BCRYPT}`).join('\n'),
    'unix//run/openclaw/proxy.sock': upstream.startsWith('unix:') ? `unix/${upstream.slice('unix:'.length)}` : upstream
  })
  const global = `{\n  admin off\n  auto_https off\n  storage file_system ${dir}/data\n}\n`
  writeFileSync(join(dir, 'Caddyfile'), global + site)
  const env = { PATH: process.env.PATH, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir }
  const args = ['run', '--config', join(dir, 'Caddyfile'), '--adapter', 'caddyfile']
  await run(t, spawn(findProgram(['caddy'])!, args, { env, stdio: ['ignore', 'ignore', 'pipe'] }), listen)
}

// Neither says when it listens: asked until it answers, or has ended and said why.
async function run(t: Test, child: ChildProcess, { host, port }: { host: string; port: number }): Promise<void> {
  let text = ''
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-4_000)
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  while (!(await answers(host, port))) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the proxy did not start: ${text}`)
    await delay(20)
  }
}

function answers(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port })
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).finally(() => socket.destroy())
}
