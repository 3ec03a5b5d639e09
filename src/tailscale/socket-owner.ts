import { open, stat } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { canonicalAddress, isLoopback } from '../auth/addresses.ts'

const ESTABLISHED = '01'
const CHUNK = 65_536
// About 50,000 sockets in each table.
const MAX_BYTES = 8 * 1024 * 1024
/** What the kernel shows for a user that this user namespace has no number for: it may be anybody. */
const OVERFLOW_UID = 65_534

/** Both ends of a TCP connection as our side sees them; a `net.Socket` is one. */
export type Ends = Pick<Socket, 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'>

/**
 * The user who owns the other end of a loopback connection. `nobody` when no living process of this machine holds that
 * end: a peer that has let go of its socket shows up as root's. `unknown` where the system cannot tell.
 */
export async function socketOwner(ends: Ends): Promise<number | 'nobody' | 'unknown'> {
  const ours = end(ends.localAddress, ends.localPort)
  const theirs = end(ends.remoteAddress, ends.remotePort)
  if (process.platform !== 'linux' || ours === undefined || theirs === undefined) return 'unknown'
  let tells = false
  // Either end may be an IPv4 socket, or an IPv6 one that speaks IPv4.
  for (const [table, family] of [
    ['/proc/net/tcp', 'v4'],
    ['/proc/net/tcp6', 'v6']
  ] as const) {
    const local = theirs[family]
    const remote = ours[family]
    if (local === undefined || remote === undefined) continue
    const found = await search(table, ` ${local} ${remote} ${ESTABLISHED} `).catch(notThere)
    if (typeof found === 'number') return found
    if (found === undefined) tells = true
  }
  return tells ? 'nobody' : 'unknown'
}

// A local process may have used up our files: only a system without the table cannot tell.
function notThere({ code }: NodeJS.ErrnoException): 'not there' | undefined {
  return code === 'ENOENT' || code === 'EACCES' || code === 'EPERM' ? 'not there' : undefined
}

/** The user who owns a Unix socket: for tailscaled's, the user it runs as. Undefined when there is none, or none we know. */
export async function daemonUser(socketPath: string): Promise<number | undefined> {
  const found = await stat(socketPath).catch(() => undefined)
  return found?.isSocket() === true && found.uid !== OVERFLOW_UID ? found.uid : undefined
}

interface End {
  v4: string | undefined
  v6: string
}

// An address and port as the kernel's tables write them: 32-bit words in the machine's own byte order.
function end(address: string | undefined, port: number | undefined): End | undefined {
  const canonical = canonicalAddress(address ?? '')
  if (canonical === undefined || port === undefined || !isLoopback(canonical)) return undefined
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  if (canonical.includes(':')) return { v4: undefined, v6: `${words([0, 0, 0, 1])}${suffix}` }
  const v4 = canonical.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
  return { v4: `${words([v4])}${suffix}`, v6: `${words([0, 0, 0xffff, v4])}${suffix}` }
}

function words(values: readonly number[]): string {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4)
  if (littleEndian) bytes.swap32()
  return bytes.toString('hex').toUpperCase()
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

// The table has a line a socket, and is read as far as the line is, or the bound: a local process can make it long.
async function search(table: string, ends: string): Promise<number | undefined> {
  const file = await open(table)
  try {
    const chunk = Buffer.alloc(CHUNK)
    let rest = ''
    for (let total = 0; total < MAX_BYTES; ) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK, null)
      if (bytesRead === 0) return undefined
      total += bytesRead
      const lines = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n')
      rest = lines.pop()!
      const line = lines.find((each) => each.includes(ends))
      if (line !== undefined) return owner(line)
    }
    return undefined
  } finally {
    await file.close()
  }
}

// `sl local remote st tx:rx tr:when retrnsmt uid timeout inode …`; a socket without an inode has no process.
function owner(line: string): number | undefined {
  const fields = line.trim().split(/\s+/)
  return fields[9] === '0' ? undefined : Number(fields[7])
}
