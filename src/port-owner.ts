import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { promisify } from 'node:util'

/** The process that listens on a TCP port. */
export interface PortOwner {
  pid: number
  command: string
}

/** The program's name alone: its arguments may hold a secret. */
export function programOf({ command }: PortOwner): string {
  return command.split(' ', 1)[0] || 'unknown program'
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

/** The socket at which a connection to a port of 127.0.0.1 arrives. */
export interface LoopbackListener {
  /** Names the socket: the same for as long as it listens, and no other's. */
  id: string
  /** The user whose it is. */
  uid: number
  /** Undefined when the process cannot be told, as with another user's. */
  owner: PortOwner | undefined
}

/** Finds the socket that takes connections to a port of 127.0.0.1; undefined when there is none, or nobody can tell. */
export async function loopbackListener(port: number): Promise<LoopbackListener | undefined> {
  const sockets = await listenSockets()
  if (sockets === undefined) {
    return (await lsof(port)).find(({ name }) => name === `127.0.0.1:${port}` || name === `*:${port}`)
  }
  const found = sockets.filter((socket) => socket.port === port)
  // An exact address is served before the wildcard, so that both may listen.
  for (const address of ARRIVES_AT) {
    const socket = found.find((each) => each.address === address)
    if (socket === undefined) continue
    return { id: socket.inode, uid: socket.uid, owner: await holderOf(new Set([socket.inode])) }
  }
  return undefined
}

// As /proc writes them: 127.0.0.1, the same mapped into IPv6, and the two wildcards.
const ARRIVES_AT = ['0100007F', '0000000000000000FFFF00000100007F', '00000000', '0'.repeat(32)]
const LISTEN = '0A'

interface ListenSocket {
  address: string
  port: number
  uid: number
  inode: string
}

/** Every listening TCP socket; undefined where there is no /proc. */
async function listenSockets(): Promise<ListenSocket[] | undefined> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'utf8').catch(() => ''))
  )
  if (tables.every((table) => table === '')) return undefined
  return tables
    .join('\n')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTEN)
    .map((fields) => {
      const [address = '', port = ''] = fields[1]?.split(':') ?? []
      return { address, port: Number.parseInt(port, 16), uid: Number(fields[7]), inode: `socket:[${fields[9]}]` }
    })
}

async function fromProc(port: number): Promise<PortOwner | undefined> {
  const sockets = ((await listenSockets()) ?? []).filter((socket) => socket.port === port)
  return holderOf(new Set(sockets.map(({ inode }) => inode)))
}

async function holderOf(inodes: ReadonlySet<string>): Promise<PortOwner | undefined> {
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
  return (await lsof(port))[0]?.owner
}

async function lsof(port: number): Promise<(LoopbackListener & { name: string })[]> {
  try {
    const args = ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpcufn']
    const { stdout } = await promisify(execFile)('lsof', args, { timeout: 2_000 })
    return parseLsof(stdout)
  } catch {
    return []
  }
}

/** Reads what `lsof -Fpcufn` prints: a line for each field, those of a process before those of its files. */
export function parseLsof(text: string): (LoopbackListener & { name: string })[] {
  const found: (LoopbackListener & { name: string })[] = []
  const now: Record<string, string> = {}
  for (const line of text.split('\n')) {
    now[line.charAt(0)] = line.slice(1)
    if (!line.startsWith('n')) continue
    const owner = { pid: Number(now.p), command: printable(now.c ?? '') }
    found.push({ id: `${now.p}:${now.f}`, uid: Number(now.u), owner, name: now.n ?? '' })
  }
  return found
}

// Any process may call itself anything, and this goes to a terminal (S25).
function printable(text: string): string {
  return text.slice(0, 200).replaceAll(/\p{Cc}/gu, '?')
}
