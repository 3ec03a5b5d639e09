import { connect, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { basename } from 'node:path'
import { loopbackListener } from '../../port-owner.ts'

/** Who listens at the local end of a tunnel: nobody, an ssh that may be trusted, or somebody else. */
export type LocalEnd =
  | { state: 'free' }
  | { state: 'ssh'; pid: number; id: string }
  | { state: 'taken'; who: string; pid: number | undefined }

/**
 * Looks who listens on a port of 127.0.0.1. Only an ssh of this user, or of root, counts as a tunnel: whatever else answers
 * there may be anybody's, and gets no credential.
 */
export async function localEnd(port: number): Promise<LocalEnd> {
  const listener = await loopbackListener(port)
  if (listener === undefined) {
    return (await accepts(port)) ? { state: 'taken', who: 'another process', pid: undefined } : { state: 'free' }
  }
  const { id, uid, owner } = listener
  if (owner === undefined) return { state: 'taken', who: `a process of the user ${uid}`, pid: undefined }
  const { pid, command } = owner
  // The program's name alone: its arguments may hold a secret.
  const program = basename(command.split(' ', 1)[0] ?? '').replace(/:$/, '')
  const trusted = uid === 0 || uid === userInfo().uid
  if (trusted && SSH.test(program)) return { state: 'ssh', pid, id }
  return { state: 'taken', who: `pid ${pid} (${program || 'unknown program'})`, pid }
}

// The client, and the server's side of `ssh -R`.
const SSH = /^(?:ssh|sshd|sshd-session)$/

/**
 * Connects to a tunnel that `localEnd` found; undefined when it is no longer the same one. The socket that listens is looked
 * at again after the connection is there: nobody can have taken its place in between.
 */
export async function connectLocalEnd(port: number, id: string): Promise<Socket | undefined> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  } catch {
    return undefined
  }
  if ((await loopbackListener(port))?.id === id) return socket
  socket.destroy()
  return undefined
}

function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  return new Promise((resolve) => {
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, () => done(true))
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}
