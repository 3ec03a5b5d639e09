import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { describeAddress } from './auth/addresses.ts'
import type { ListenTarget } from './auth/bind-policy.ts'
import type { Listener } from './auth/ingress.ts'
import { acceptedBy } from './plugins/ingress.ts'
import { PortTaken, portOwner } from './port-owner.ts'

/** Opens the main port on every address of the plan; a required one that fails is an error. */
export async function openMain(
  app: FastifyInstance,
  targets: readonly ListenTarget[],
  port: number,
  opened: Server[]
): Promise<void> {
  try {
    for (const [index, { host, required }] of targets.entries()) {
      if (index === 0) await app.listen({ host, port })
      else await handOver(app, 'main', { host, port }, opened).catch(optional(required))
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw code === 'EADDRINUSE' ? new PortTaken(port, await portOwner(port)) : error
  }

  function optional(required: boolean): (error: NodeJS.ErrnoException) => void {
    return (error) => {
      // Without IPv6 there is no ::1; a taken one means that somebody else would answer for us there.
      if (required || error.code === 'EADDRINUSE') throw error
    }
  }
}

/**
 * Opens a private listener on a Unix socket. Whoever can open the `local` one owns the host's files, and needs no
 * credential. The state lock is held, so a socket file that is in the way belongs to a process that died.
 */
export async function openPrivate(
  app: FastifyInstance,
  listener: 'local' | 'tailscale',
  path: string,
  opened: Server[]
): Promise<void> {
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // In a shared temporary folder somebody else may have been there first.
  const { uid } = lstatSync(folder)
  if (!lstatSync(folder).isDirectory() || uid !== userInfo().uid) throw new Error(`${folder} belongs to somebody else`)
  chmodSync(folder, 0o700)
  rmSync(path, { force: true })
  await handOver(app, listener, { path }, opened)
  chmodSync(path, 0o600)
}

/** Opens a private listener on a port of loopback that nobody is told but whom it is for; resolves with the port. */
export async function openLoopback(app: FastifyInstance, listener: 'tailscale', opened: Server[]): Promise<number> {
  const server = await handOver(app, listener, { host: '127.0.0.1', port: 0 }, opened)
  return (server.address() as AddressInfo).port
}

/** A listener that the configuration names and that cannot be opened; the message names the key. */
export class ListenerFailed extends Error {}

/**
 * Opens the `proxy` listener (S4): a socket that only a proxy of this host can open, by its mode and group, so that no
 * other process can speak for anyone.
 */
export async function openProxy(
  app: FastifyInstance,
  { path, mode, group }: { path: string; mode: number; group: string | undefined },
  opened: Server[]
): Promise<void> {
  const key = 'gateway.auth.trustedProxy.socket'
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there !== undefined && !there.isSocket()) throw new Error('something else is there')
    if (there !== undefined && (await isAlive(path))) throw new Error('another process listens there')
    rmSync(path, { force: true })
    await handOver(app, 'proxy', { path }, opened)
    // Until then nobody but the owner may write to it, and so open it.
    if (group !== undefined) chownSync(path, -1, groupId(group))
    chmodSync(path, mode)
  } catch (cause) {
    throw new ListenerFailed(`${key}: cannot open ${path}: ${(cause as Error).message}`, { cause })
  }
}

function isAlive(path: string): Promise<boolean> {
  const socket = connect(path)
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).finally(() => socket.destroy())
}

function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group)
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${group}:`))
  const id = Number(line?.split(':')[2] ?? Number.NaN)
  if (Number.isInteger(id)) return id
  throw new Error(`gateway.auth.trustedProxy.socketGroup: there is no group "${group}"`)
}

// A listener of our own whose sockets the one HTTP server serves; the tag says where they came in.
async function handOver(
  app: FastifyInstance,
  listener: Listener,
  where: { host: string; port: number } | { path: string },
  opened: Server[]
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) => {
    acceptedBy(socket, listener)
    app.server.emit('connection', socket)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
  opened.push(server)
  app.alsoListening.push(describeAddress(server.address()!))
  return server
}
