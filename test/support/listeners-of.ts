import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Runs inside a network namespace: starts a gateway with each bind and prints the addresses that it listens on. */
const [, , cli = ''] = process.argv
const port = 18789
const binds: Record<string, Record<string, unknown>> = {
  lan: { bind: 'lan' },
  tailnet: { bind: 'tailnet' },
  custom: { bind: 'custom', customBindHost: '192.168.77.5' },
  loopback: {}
}
const found: Record<string, unknown> = {}
for (const [name, gateway] of Object.entries(binds)) {
  const stateDir = mkdtempSync(join(tmpdir(), 'oc-'))
  const section = { mode: 'local', auth: { mode: 'token', token: 'a-token-for-this-run' }, ...gateway }
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway: section }))
  const env = { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  const child = spawn(process.execPath, [cli, 'gateway', 'run'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  await ready(child)
  found[name] = listening()
  if (name === 'lan') {
    found.lanLocalHost = await status('127.0.0.1', '/readyz')
    found.lanOtherHost = await status('192.168.77.5', '/metrics')
  }
  child.kill('SIGTERM')
  await once(child, 'exit')
  rmSync(stateDir, { recursive: true })
}
console.log(JSON.stringify(found))

async function ready(child: ChildProcess): Promise<void> {
  let text = ''
  for await (const chunk of child.stdout!.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += chunk
    if (text.includes('is ready on')) return
  }
  throw new Error(text)
}

function listening(): string[] {
  const hexPort = port.toString(16).toUpperCase()
  const lines = (file: string) => readFileSync(file, 'utf8').split('\n').slice(1)
  const addresses = [...lines('/proc/net/tcp'), ...lines('/proc/net/tcp6')].flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/)
    const [address = '', at] = local.split(':')
    if (state !== '0A' || at !== hexPort) return []
    if (address.length > 8) return [address === '00000000000000000000000001000000' ? '::1' : address]
    return [[...Buffer.from(address, 'hex')].reverse().join('.')]
  })
  return addresses.sort()
}

function status(host: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ host, port, path, agent: false }, (res) => resolve(res.resume().statusCode ?? 0))
      .on('error', reject)
      .end()
  })
}
