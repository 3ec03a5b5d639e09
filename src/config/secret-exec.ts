import { spawn } from 'node:child_process'
import { lstat, realpath } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { isAbsolute, relative } from 'node:path'
import { isObject } from './key-path.ts'
import { expand } from './paths.ts'
import type { SecretContext } from './secrets.ts'
import type { SecretRef } from './types.ts'

const MAX_BYTES = 1024 * 1024

/** Reads a secret by running the provider's program: no shell, a bounded time, a bounded answer. */
export async function readFromExec(
  ref: SecretRef,
  provider: Record<string, unknown>,
  context: SecretContext
): Promise<string> {
  const command = await trustedCommand(provider, context.home)
  const request = JSON.stringify({ protocolVersion: 1, provider: ref.provider, ids: [ref.id] })
  const output = await run(command, provider, environment(provider, context), request)
  return answer(output, ref.id, provider.jsonOnly !== false)
}

/** The provider's program, once it is known to be one that only this user (or root) can change. */
async function trustedCommand(provider: Record<string, unknown>, home: string): Promise<string> {
  if (typeof provider.command !== 'string') throw new Error('the provider has no command')
  const command = provider.command.startsWith('~') ? expand(provider.command, home) : provider.command
  if (!isAbsolute(command)) throw new Error(`command ${command} must be an absolute path`)
  const stat = await lstat(command).catch((error) => {
    throw new Error(`command ${command} cannot be read (${error.code})`)
  })
  if (stat.isSymbolicLink()) throw new Error(`command ${command} is a symbolic link (name ${await target(command)})`)
  if (!stat.isFile()) throw new Error(`command ${command} is not a regular file`)
  if (process.platform !== 'win32') {
    if ((stat.mode & 0o022) !== 0) throw new Error(`command ${command} can be changed by other users (chmod go-w)`)
    // Root's programs are safe too: root could change ours as well.
    if (stat.uid !== userInfo().uid && stat.uid !== 0) throw new Error(`command ${command} belongs to another user`)
  }
  const dirs = provider.trustedDirs
  if (Array.isArray(dirs)) {
    const real = await realpath(command)
    const trusted = dirs.some((dir) => {
      const below = typeof dir === 'string' ? relative(expand(dir, home), real) : '..'
      return below !== '' && !below.startsWith('..') && !isAbsolute(below)
    })
    if (!trusted) throw new Error(`command ${command} is outside the provider's trustedDirs`)
  }
  return command
}

function target(command: string): Promise<string> {
  return realpath(command).catch(() => 'its target')
}

function environment(provider: Record<string, unknown>, context: SecretContext): Record<string, string> {
  const env: Record<string, string> = {}
  for (const name of Array.isArray(provider.passEnv) ? provider.passEnv : []) {
    const value = typeof name === 'string' ? context.env[name] : undefined
    if (value !== undefined) env[name as string] = value
  }
  if (isObject(provider.env)) {
    for (const [name, value] of Object.entries(provider.env)) if (typeof value === 'string') env[name] = value
  }
  return env
}

function run(
  command: string,
  provider: Record<string, unknown>,
  env: Record<string, string>,
  request: string
): Promise<string> {
  const number = (value: unknown, fallback: number) => (typeof value === 'number' && value > 0 ? value : fallback)
  const timeoutMs = number(provider.timeoutMs, 5000)
  const silenceMs = number(provider.noOutputTimeoutMs, timeoutMs)
  const limit = number(provider.maxOutputBytes, MAX_BYTES)
  const args = Array.isArray(provider.args) ? provider.args.filter((arg) => typeof arg === 'string') : []
  return new Promise((resolve, reject) => {
    // What it says on stderr may hold the secret: nobody reads it. Its own group, so that its children end with it.
    const child = spawn(command, args, { env, shell: false, stdio: ['pipe', 'pipe', 'ignore'], detached: true })
    const chunks: Buffer[] = []
    let size = 0
    const fail = (reason: string) => {
      clearTimeout(deadline)
      clearTimeout(silence)
      child.removeAllListeners('close')
      child.stdout.destroy()
      kill(child.pid)
      reject(new Error(reason))
    }
    const deadline = setTimeout(() => fail(`the command took longer than ${timeoutMs} ms`), timeoutMs)
    let silence = setTimeout(() => fail(`the command said nothing for ${silenceMs} ms`), silenceMs)
    child.on('error', (error) => fail(`the command cannot run (${'code' in error ? String(error.code) : 'error'})`))
    child.stdout.on('data', (chunk: Buffer) => {
      clearTimeout(silence)
      silence = setTimeout(() => fail(`the command said nothing for ${silenceMs} ms`), silenceMs)
      size += chunk.length
      if (size > limit) fail(`the command answered more than ${limit} bytes`)
      else chunks.push(chunk)
    })
    child.on('close', (code) => {
      clearTimeout(deadline)
      clearTimeout(silence)
      if (code === 0) resolve(Buffer.concat(chunks).toString('utf8'))
      else reject(new Error(`the command ended with ${code === null ? 'a signal' : `exit code ${code}`}`))
    })
    // A program that does not read its input is no failure.
    child.stdin.on('error', () => {})
    child.stdin.end(request)
  })
}

function kill(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

function answer(output: string, id: string, jsonOnly: boolean): string {
  let reply: unknown
  try {
    reply = JSON.parse(output)
  } catch {
    if (jsonOnly || output.trim() === '') throw new Error('the command did not answer with JSON')
    return output.replace(/\r?\n$/, '')
  }
  if (!isObject(reply) || reply.protocolVersion !== 1) {
    if (!jsonOnly && !isObject(reply)) return output.replace(/\r?\n$/, '')
    throw new Error('the command did not answer with protocolVersion 1')
  }
  const values = reply.values
  const value = isObject(values) && Object.hasOwn(values, id) ? values[id] : undefined
  if (typeof value === 'string') return value
  const error = isObject(reply.errors) && Object.hasOwn(reply.errors, id) ? reply.errors[id] : undefined
  const code = isObject(error) ? error.code : undefined
  // Other codes may hold what the program should not have said.
  if (code === 'NOT_FOUND' || code === 'AMBIGUOUS_DUPLICATE_KEY') throw new Error(`the command answered ${code}`)
  throw new Error('the command has no value for that id')
}
