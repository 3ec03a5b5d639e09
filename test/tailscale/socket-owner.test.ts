import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { daemonUser, socketOwner } from '../../src/tailscale/socket-owner.ts'
import { tempDir } from '../support/gateway.ts'

t.setTimeout(60_000)

const own = process.getuid!()
const linux = process.platform === 'linux'
const only = linux ? {} : { skip: 'only Linux tells who owns a socket' }
const asRoot = linux && own === 0 ? {} : { skip: 'needs root on Linux, to run as another user' }
/** A user that has no name and owns nothing. */
const OTHER = 54_321

/** A server and a function that accepts the next connection. */
async function listening(t: Test, host: string): Promise<{ port: number; accepted: Promise<Socket> } | undefined> {
  const server = createServer()
  server.listen(0, host)
  const [error] = (await Promise.race([once(server, 'listening'), once(server, 'error')])) as [Error?]
  if (error !== undefined) return undefined
  t.teardown(() => server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') return undefined
  const accepted = once(server, 'connection').then(([socket]: Socket[]) => {
    t.teardown(() => socket!.destroy())
    return socket!.on('error', () => {})
  })
  return { port: address.port, accepted }
}

const families = [
  { listen: '127.0.0.1', to: '127.0.0.1' },
  { listen: '::1', to: '::1' },
  { listen: '::', to: '127.0.0.1' },
  { listen: '::', to: '::1' },
  { listen: '127.0.0.1', to: '::ffff:127.0.0.1' },
  { listen: '127.0.0.2', to: '127.0.0.2' }
]

t.test('the other end of a connection within this machine belongs to somebody', only, async (t) => {
  for (const { listen, to } of families) {
    const server = await listening(t, listen)
    if (server === undefined) {
      t.comment(`no ${listen} here`)
      continue
    }
    const client = connect({ host: to, port: server.port }).on('error', () => {})
    t.teardown(() => client.destroy())
    const accepted = await server.accepted
    t.equal(await socketOwner(accepted), own, `${to} to ${listen}`)
    t.equal(await socketOwner(client), own, 'seen from the other side too')
  }
})

t.test('the other end belongs to the user who opened it', asRoot, async (t) => {
  const server = (await listening(t, '127.0.0.1'))!
  // A socket that bash itself opens, and that lives until its input ends.
  const child = spawn('bash', ['-c', `exec 3<>/dev/tcp/127.0.0.1/${server.port}; read -r line`], {
    uid: OTHER,
    gid: OTHER,
    stdio: ['pipe', 'ignore', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const accepted = await server.accepted
  t.equal(await socketOwner(accepted), OTHER)
})

t.test('a peer that has let go of its end is nobody, and never root', only, async (t) => {
  // Its process is gone, or lives and has closed the socket: the kernel then shows root as its owner.
  for (const how of ['end', 'destroy'] as const) {
    const server = (await listening(t, '127.0.0.1'))!
    const client = connect({ host: '127.0.0.1', port: server.port, allowHalfOpen: true }).on('error', () => {})
    const accepted = await server.accepted
    const ends = {
      localAddress: accepted.localAddress!,
      localPort: accepted.localPort!,
      remoteAddress: accepted.remoteAddress!,
      remotePort: accepted.remotePort!
    }
    t.equal(await socketOwner(ends), own)
    accepted.resume()
    const gone = once(accepted, 'end')
    client[how]()
    await gone
    t.equal(await socketOwner(ends), 'nobody', how)
    client.destroy()
  }
})

t.test('what is no connection within this machine belongs to nobody, or nobody knows', async (t) => {
  const ends = { localAddress: '127.0.0.1', localPort: 1, remoteAddress: '127.0.0.1', remotePort: 2 }
  t.equal(await socketOwner(ends), linux ? 'nobody' : 'unknown')
  const unknown = [
    { ...ends, remoteAddress: '192.0.2.1' },
    { ...ends, localAddress: undefined },
    { ...ends, remotePort: undefined },
    { ...ends, remoteAddress: 'localhost' }
  ]
  for (const each of unknown) t.equal(await socketOwner(each as never), 'unknown')
})

t.test('a busy machine does not hide an end', only, async (t) => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const accepted: Socket[] = []
  const clients: Socket[] = []
  const all = new Promise<void>((resolve) => {
    server.on('connection', (socket) => {
      accepted.push(socket.on('error', () => {}))
      if (accepted.length === 1_000) resolve()
    })
  })
  for (let i = 0; i < 1_000; i++) clients.push(connect({ host: '127.0.0.1', port }).on('error', () => {}))
  await all
  const owners = await Promise.all(accepted.filter((_, i) => i % 50 === 0).map(socketOwner))
  t.ok(owners.every((owner) => owner === own))
  for (const socket of [...clients, ...accepted]) socket.destroy()
  server.close()
})

t.test('the owner of a socket’s file is the daemon’s user', async (t) => {
  const dir = tempDir(t)
  const path = join(dir, 'd.sock')
  const server = createServer().listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  t.equal(await daemonUser(path), own)
  if (own === 0) {
    chmodSync(dir, 0o755)
    chownSync(path, OTHER, OTHER)
    t.equal(await daemonUser(path), OTHER)
    chownSync(path, 65_534, 65_534)
    t.equal(await daemonUser(path), undefined, 'the kernel’s stand-in for unknown users is nobody in particular')
  }
  writeFileSync(join(dir, 'file'), '')
  t.equal(await daemonUser(join(dir, 'file')), undefined, 'a plain file is no socket')
  t.equal(await daemonUser(join(dir, 'none')), undefined)
})
