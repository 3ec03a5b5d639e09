import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ClientError } from '../errors.ts'
import { findSsh, forwardArguments, sshEnvironment } from './command.ts'
import { sshFailure, sshMissing } from './failure.ts'
import type { SshRoute } from './route.ts'

/** What a forwarding starts from. */
export interface ForwardingOptions {
  localPort: number
  /** False where the user's ssh configuration opens the port by itself. */
  opens: boolean
  env: Readonly<Record<string, string | undefined>>
  onReady(): void
  /** Hears why one connection through the tunnel came to nothing; the tunnel itself stays. */
  onTrouble(trouble: ClientError): void
}

/** One process of ssh that holds a port open. */
export interface Forwarding {
  pid: number | undefined
  /** Resolves with why it ended. */
  ended: Promise<ClientError>
  stop(): void
}

const SAID_MAX = 16 * 1024

/** Starts ssh, so that a port of this host's loopback leads to the gateway. Throws a ClientError where there is no ssh. */
export function startForwarding(route: SshRoute, options: ForwardingOptions): Forwarding {
  const { localPort, opens, env, onReady, onTrouble } = options
  const program = findSsh()
  if (program === undefined) throw sshMissing()
  const child = spawn(program, forwardArguments(route, localPort, opens), {
    env: sshEnvironment(env),
    stdio: ['ignore', 'ignore', 'pipe'],
    windowsHide: true
  })
  let said = ''
  let ready = false
  createInterface({ input: child.stderr }).on('line', (line) => {
    // ssh listens before it logs in to nothing: this comes after the login.
    if (line.startsWith('debug1: Entering interactive session')) {
      ready = true
      return onReady()
    }
    if (line.startsWith('debug')) return
    said = `${said}${line}\n`.slice(-SAID_MAX)
    if (ready && /^channel \d+: open failed: /.test(line)) {
      onTrouble(sshFailure({ stderr: line, code: null, signal: null }, route))
    }
  })
  const ended = new Promise<ClientError>((resolve) => {
    child.once('error', (error) => resolve(new ClientError('SSH_FAILED', `ssh could not start: ${error.message}`)))
    child.once('close', (code, signal) =>
      resolve(sshFailure({ stderr: ready ? lost(said) : said, code, signal }, route))
    )
  })
  return { pid: child.pid, ended, stop: () => void child.kill() }
}

// What a connection through the tunnel came to is not why the tunnel itself ended.
function lost(said: string): string {
  return said.replace(/^channel \d+: .*\n/gm, '')
}
