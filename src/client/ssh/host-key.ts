import { execFile } from 'node:child_process'
import { findSsh, hostKeyArguments, sshEnvironment } from './command.ts'
import { sshFailure, sshMissing } from './failure.ts'
import type { SshRoute } from './route.ts'

/** The key by which a host is known, as ssh prints it: `ED25519`, `SHA256:…`. */
export interface HostKey {
  kind: string
  fingerprint: string
}

interface HostKeyOptions {
  env: Readonly<Record<string, string | undefined>>
  timeoutMs: number
}

/** Asks a host for its key and logs in to nothing; rejects with a ClientError when it is not reached. */
export async function shownHostKey(route: SshRoute, options: HostKeyOptions): Promise<HostKey> {
  return ask(route, false, options)
}

/** Lets ssh remember the key of a host that it does not know; resolves with the key that it remembers. */
export async function rememberHostKey(route: SshRoute, options: HostKeyOptions): Promise<HostKey> {
  return ask(route, true, options)
}

async function ask(route: SshRoute, remember: boolean, { env, timeoutMs }: HostKeyOptions): Promise<HostKey> {
  const program = findSsh()
  if (program === undefined) throw sshMissing()
  const words = hostKeyArguments(route, remember)
  const stderr = await new Promise<string>((resolve) => {
    // It always fails: nothing may log in.
    execFile(program, words, { env: sshEnvironment(env), timeout: timeoutMs }, (_error, _out, text) => resolve(text))
  })
  // The first alone is ssh's own word: what the host itself says, in its banner, comes after its key, and may look the same.
  const [, kind, fingerprint] = SHOWN.exec(stderr) ?? []
  if (kind !== undefined && fingerprint !== undefined) return { kind, fingerprint }
  const said = stderr.replace(/^debug\d: .*\r?\n/gm, '')
  throw sshFailure({ stderr: said, code: 255, signal: null }, route)
}

const SHOWN = /^debug1: Server host key: (\S+) (SHA256:[A-Za-z0-9+/]+)/m
