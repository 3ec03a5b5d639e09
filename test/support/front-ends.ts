import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { findProgram } from '../../scripts/debian.ts'
import { tempDir } from './gateway.ts'

/** Who the proxies let in, all with the same password. */
export const USERS = ['alice@example.com', 'boss@example.com']
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

/** The proxies that people use, with the configuration that the documentation gives. */
export const FRONT_ENDS: readonly FrontEnd[] = [
  { name: 'nginx', program: findProgram(['nginx']), start: startNginx },
  { name: 'caddy', program: findProgram(['caddy']), start: startCaddy }
]

async function startNginx(t: Test, listen: { host: string; port: number }, upstream: string): Promise<void> {
  const dir = tempDir(t)
  mkdirSync(join(dir, 'tmp'))
  writeFileSync(join(dir, 'users'), USERS.map((user) => `${user}:{PLAIN}${PASSWORD}\n`).join(''))
  const target = upstream.startsWith('unix:') ? `http://${upstream}:` : `http://${upstream}`
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/pid; error_log stderr error;
events {}
http {
  access_log off;
  client_body_temp_path ${dir}/tmp; proxy_temp_path ${dir}/tmp; fastcgi_temp_path ${dir}/tmp;
  uwsgi_temp_path ${dir}/tmp; scgi_temp_path ${dir}/tmp;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server {
    listen ${listen.host}:${listen.port};
    auth_basic "gateway";
    auth_basic_user_file ${dir}/users;
    location / {
      proxy_pass ${target};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Authorization "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-User $remote_user;
      proxy_set_header X-Real-IP "";
      proxy_set_header Forwarded "";
    }
  }
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
  const target = upstream.startsWith('unix:') ? `unix/${upstream.slice('unix:'.length)}` : upstream
  writeFileSync(
    join(dir, 'Caddyfile'),
    `{
  admin off
  auto_https off
  storage file_system ${dir}/data
}
http://:${listen.port} {
  bind ${listen.host}
  basicauth {
${USERS.map((user) => `    ${user} ${BCRYPT}`).join('\n')}
  }
  reverse_proxy ${target} {
    header_up -Authorization
    header_up -X-Real-IP
    header_up -Forwarded
    header_up X-Forwarded-User {http.auth.user.id}
  }
}
`
  )
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
