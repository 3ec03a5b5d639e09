import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { promisify } from 'node:util'

/** The process that listens on a TCP port. */
export interface PortOwner {
  pid: number
  command: string
}

/** The port is taken; the message names by whom. */
export class PortTaken extends Error {
  constructor(port: number, owner: PortOwner | undefined) {
    const who = owner === undefined ? 'another process' : `pid ${owner.pid} (${owner.command || 'unknown command'})`
    super(`Port ${port} is already in use by ${who}; stop it, or choose another port with --port or gateway.port.`)
  }
}

/** Finds who listens on a TCP port: from /proc where there is one, else from lsof. Undefined when nobody can tell. */
export async function portOwner(port: number): Promise<PortOwner | undefined> {
  try {
    return (await fromProc(port)) ?? (await fromLsof(port))
  } catch {
    return undefined
  }
}

const LISTEN = '0A'

async function fromProc(port: number): Promise<PortOwner | undefined> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'utf8').catch(() => ''))
  )
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  const inodes = new Set<string>()
  for (const line of tables.join('\n').split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[3] === LISTEN && fields[1]?.endsWith(`:${hexPort}`)) inodes.add(`socket:[${fields[9]}]`)
  }
  if (inodes.size === 0) return undefined
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => [])
    for (const fd of fds) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
      if (inodes.has(target)) return { pid: Number(pid), command: await commandOf(pid) }
    }
  }
  return undefined
}

async function commandOf(pid: string): Promise<string> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return printable(command.split('\0').filter(Boolean).join(' '))
}

async function fromLsof(port: number): Promise<PortOwner | undefined> {
  const { stdout } = await promisify(execFile)('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], {
    timeout: 2_000
  })
  const pid = /^p(\d+)$/m.exec(stdout)?.[1]
  return pid === undefined ? undefined : { pid: Number(pid), command: printable(/^c(.+)$/m.exec(stdout)?.[1] ?? '') }
}

// Any process may call itself anything, and this goes to a terminal (S25).
function printable(text: string): string {
  return text.slice(0, 200).replaceAll(/\p{Cc}/gu, '?')
}
