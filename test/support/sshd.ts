import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { findProgram } from '../../scripts/debian.ts'
import { freePort, tempDir } from './gateway.ts'

const SSHD = findProgram(['sshd'])

/** Why no sshd can be started here; false when one can. */
export const noSshd: string | false =
  SSHD === undefined
    ? 'needs sshd: apt-get install openssh-server'
    : findProgram(['ssh']) === undefined
      ? 'needs ssh: apt-get install openssh-client'
      : false

/** A real sshd on a loopback port, with keys of its own, that lets this very user in. */
export interface TestSshd {
  port: number
  /** `user@127.0.0.1:PORT` */
  target: string
  /** A private key that it accepts. */
  identity: string
  /** The line that known_hosts has for it. */
  hostLine: string
  stop(): Promise<void>
  /** Starts it again after `stop`. */
  again(): Promise<void>
}

/** Makes a key pair; returns the path of the private one. */
export function makeKey(dir: string, name: string): string {
  const file = join(dir, name)
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', file])
  return file
}

/**
 * Starts a real sshd; `options` are further lines of its configuration. `on` is a machine of `makeMachines` that it runs on,
 * at an address of it and the usual port.
 */
export async function startSshd(
  t: Test,
  given: { options?: readonly string[]; on?: { machine: string; address: string } } = {}
): Promise<TestSshd> {
  const dir = tempDir(t)
  const address = given.on?.address ?? '127.0.0.1'
  const port = given.on === undefined ? await freePort() : 22
  const hostKey = makeKey(dir, 'host_key')
  const identity = makeKey(dir, 'identity')
  copyFileSync(`${identity}.pub`, join(dir, 'authorized_keys'))
  const lines = [
    ...(given.options ?? []),
    `Port ${port}`,
    `ListenAddress ${address}`,
    `HostKey ${hostKey}`,
    'PidFile none',
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no'
  ]
  writeFileSync(join(dir, 'sshd_config'), `${lines.join('\n')}\n`)
  // Its privilege separation wants this folder; only root's sshd separates.
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const way = given.on === undefined ? [] : ['ip', 'netns', 'exec', given.on.machine]
  const words = [...way, SSHD!, '-D', '-e', '-f', join(dir, 'sshd_config')]
  let stop = await run(words)
  t.teardown(() => stop())
  const [kind, key] = execFileSync('ssh-keygen', ['-y', '-f', hostKey], { encoding: 'utf8' }).split(' ')
  return {
    port,
    target: `${userInfo().username}@${address}:${port}`,
    identity,
    hostLine: `${port === 22 ? address : `[${address}]:${port}`} ${kind} ${key!.trim()}`,
    stop: () => stop(),
    again: async () => {
      stop = await run(words)
    }
  }
}

async function run([program = '', ...words]: readonly string[]): Promise<() => Promise<void>> {
  const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  let log = ''
  const listens = new Promise<void>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text
      if (log.includes('Server listening')) resolve()
    })
  })
  await Promise.race([listens, exited.then(([code]) => Promise.reject(new Error(`sshd exited with ${code}: ${log}`)))])
  return async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill()
    await exited
  }
}

const INSIDE = 'WITH_AN_SSH_FOLDER_OF_ITS_OWN'

/** Reports whether this process is the one inside of `withOwnSshFolder`. */
export const insideOwnSshFolder = process.env[INSIDE] === '1'

const FOLDER = join(userInfo().homedir, '.ssh')

/** The `known_hosts` and `config` of the user, while a test runs inside of `withOwnSshFolder`. */
export const sshFile = (name: 'known_hosts' | 'config'): string => join(FOLDER, name)

/**
 * Runs tests where `~/.ssh` is an empty folder of their own: ssh takes it from the user's account, whatever HOME says. That is
 * a mount that nothing outside of this file's process sees.
 */
export function withOwnSshFolder(t: Test, file: string, tests: () => void): void {
  if (insideOwnSshFolder) {
    // Tests write and delete there: it must not be the user's own.
    if (!readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${FOLDER} `)) throw new Error(`${FOLDER} is no mount`)
    tests()
    return
  }
  const dir = tempDir(t)
  const root = userInfo().uid === 0
  const way = root ? ['--mount'] : ['--map-current-user', '--keep-caps', '--mount']
  // The right to mount is for that alone: the tests run with the user's own rights.
  const then = root ? '"$3" "$4"' : 'setpriv --inh-caps=-all --ambient-caps=-all "$3" "$4"'
  const mount = ['-c', 'mount --bind "$1" "$2"', 'sh', dir, FOLDER]
  const run = ['-c', `mount --bind "$1" "$2" && exec ${then}`, 'sh', dir, FOLDER, process.execPath, file]
  const able = makeFolder() && spawnSync('unshare', [...way, 'sh', ...mount], { stdio: 'ignore' }).status === 0
  const skip = able ? false : 'needs unshare --mount and a home, to give ssh a folder of its own'
  t.test('with a folder of ssh that is its own', { skip }, async (t) => {
    await t.spawn('unshare', [...way, 'sh', ...run], { env: { ...process.env, [INSIDE]: '1' } })
  })
}

function makeFolder(): boolean {
  try {
    mkdirSync(FOLDER, { recursive: true, mode: 0o700 })
    return true
  } catch {
    return false
  }
}
