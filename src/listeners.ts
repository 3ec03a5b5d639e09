import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { describeAddress } from './auth/addresses.ts'
import type { ListenTarget } from './auth/bind-policy.ts'
import type { Listener } from './auth/ingress.ts'
import { acceptedBy } from './plugins/ingress.ts'
import { PortTaken, portOwner } from './port-owner.ts'

/** Opens the main port on every address of the plan, or on none: a required one that fails closes the others. */
export async function openMain(
  app: FastifyInstance,
  targets: readonly ListenTarget[],
  port: number
): Promise<Server[]> {
  const opened: Server[] = []
  try {
    for (const [index, { host, required }] of targets.entries()) {
      if (index === 0) await app.listen({ host, port })
      else await handOver(app, 'main', { host, port }, opened).catch(optional(required))
    }
    return opened
  } catch (error) {
    for (const server of opened) server.close()
    await app.close()
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
 * Opens the `local` listener: whoever can open this socket owns the host's files, and needs no credential. The
 * state lock is held, so a socket file that is in the way belongs to a process that died.
 */
export async function openLocal(app: FastifyInstance, path: string, opened: Server[]): Promise<void> {
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // In a shared temporary folder somebody else may have been there first.
  const { uid } = lstatSync(folder)
  if (!lstatSync(folder).isDirectory() || uid !== userInfo().uid) throw new Error(`${folder} belongs to somebody else`)
  chmodSync(folder, 0o700)
  rmSync(path, { force: true })
  await handOver(app, 'local', { path }, opened)
  chmodSync(path, 0o600)
}

// A listener of our own whose sockets the one HTTP server serves; the tag says where they came in.
async function handOver(
  app: FastifyInstance,
  listener: Listener,
  where: { host: string; port: number } | { path: string },
  opened: Server[]
): Promise<void> {
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
}
