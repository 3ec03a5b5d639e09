import { readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { withFileLock } from '../config/file-lock.ts'
import { backUp, writeAtomically } from '../config/write.ts'
import {
  type ApprovalsSnapshot,
  checkApprovals,
  EMPTY,
  replacing,
  snapshotOf,
  withAgent,
  withIds,
  withRules
} from './document.ts'
import { ApprovalsError } from './errors.ts'
import type { Plan } from './plan.ts'
import { DEFAULT_AGENT, rulesOf } from './policy.ts'
import { exactRule, isExact } from './rules.ts'
import type { Approvals, Rule } from './schema.ts'

/** Where a host keeps its exec approvals: the file that the reference once used too, and which its doctor imports. */
export function approvalsPath(stateDir: string): string {
  return join(stateDir, 'exec-approvals.json')
}

const MAX_BYTES = 1_048_576
/** Rules that "allow always" made for one agent; beyond, the one that was not used for longest goes. */
const MAX_EXACT = 500
const USED_EVERY_MS = 60_000

/** Reads the document; a missing file is an empty one. Throws an ApprovalsError for one that cannot be relied on. */
export async function readApprovals(path: string): Promise<Approvals> {
  return (await read(path)) ?? EMPTY
}

/** Reads the document for showing. */
export async function readSnapshot(path: string): Promise<ApprovalsSnapshot> {
  return snapshotOf(path, await read(path))
}

/** What a new document replaces: the one that a hash names, or one that cannot be relied on any more. */
export interface Replaced {
  baseHash?: string | undefined
  /** Replaces a broken document too, and keeps it beside the new one as `.bak`; for whoever owns the file. */
  repair?: boolean
}

/** Replaces the document, so that nobody overwrites what they have not seen. */
export async function replaceApprovals(
  path: string,
  next: unknown,
  { baseHash, repair = false }: Replaced
): Promise<ApprovalsSnapshot> {
  const wanted = checkApprovals(next, 'file')
  return withFileLock(path, async () => {
    const current = await (repair ? readOrSetAside(path) : read(path))
    if (baseHash === undefined && current !== undefined && !repair) throw conflict('exec approvals base hash required')
    if (baseHash !== undefined && baseHash !== snapshotOf(path, current).hash) {
      throw conflict('exec approvals changed since last load')
    }
    return write(path, current === undefined ? wanted : replacing(current, wanted))
  })
}

/** Changes the document as it stands; where the change gives undefined, nothing is written. */
export function changeApprovals(
  path: string,
  change: (current: Approvals) => Approvals | undefined
): Promise<ApprovalsSnapshot> {
  return withFileLock(path, async () => {
    const current = await read(path)
    const next = change(current ?? EMPTY)
    return next === undefined ? snapshotOf(path, current) : write(path, next)
  })
}

/** One command that a person allowed from now on: its digest (`planDigest`), and where its program lies. */
export interface Allowed {
  digest: string
  resolvedPath: string
  agentId?: string | undefined
}

/** Adds the rule that allows one command, as it is, from now on. */
export function allowAlways(
  path: string,
  { digest, resolvedPath, agentId = DEFAULT_AGENT }: Allowed,
  now: number = Date.now()
): Promise<ApprovalsSnapshot> {
  const rule = exactRule(resolvedPath, digest, now)
  return changeApprovals(path, (current) => {
    const known = rulesOf(current, agentId)
    if (known.some(({ argPattern, pattern }) => argPattern === rule.argPattern && pattern === rule.pattern)) return
    return withAgent(current, agentId, ({ allowlist = [], ...agent }) => {
      const exact = allowlist.filter(isExact).sort((a, b) => (b.lastUsedAt ?? 0) - (a.lastUsedAt ?? 0))
      const forgotten = new Set(exact.slice(MAX_EXACT - 1))
      return { ...agent, allowlist: [...allowlist.filter((each) => !forgotten.has(each)), rule] }
    })
  })
}

/** Notes that rules allowed a command; written at most once a minute for each rule. */
export async function noteUse(
  path: string,
  rules: readonly Rule[],
  { argv, resolvedPath }: Plan,
  now: number = Date.now()
): Promise<void> {
  const used = new Set(rules.filter(({ lastUsedAt = 0 }) => now - lastUsedAt >= USED_EVERY_MS).map(keyOf))
  if (used.size === 0) return
  await changeApprovals(path, (current) =>
    withRules(current, (rule) => {
      if (!used.has(keyOf(rule))) return rule
      // What an exact rule allows may hold a secret, and its digest names it already.
      const command = isExact(rule) ? {} : { lastUsedCommand: argv.join(' ').slice(0, MAX_COMMAND) }
      const found = resolvedPath === undefined ? {} : { lastResolvedPath: resolvedPath }
      return { ...rule, lastUsedAt: now, ...command, ...found }
    })
  )
}

const MAX_COMMAND = 512

// Rules that a person wrote may have no id.
function keyOf({ id, pattern, argPattern }: Rule): string {
  return id ?? JSON.stringify([pattern, argPattern])
}

async function readOrSetAside(path: string): Promise<Approvals | undefined> {
  try {
    return await read(path)
  } catch (error) {
    if (!(error instanceof ApprovalsError)) throw error
    await backUp(path)
    return undefined
  }
}

async function read(path: string): Promise<Approvals | undefined> {
  let raw: string
  try {
    const { size, mode } = await stat(path)
    // Whoever can write this file decides what runs here.
    if ((mode & 0o022) !== 0 && process.platform !== 'win32') {
      throw unusable(`Others than its owner can write ${path}`, `chmod 600 ${path}`)
    }
    if (size > MAX_BYTES) throw unusable(`${path} is larger than 1 MiB`, `ls -l ${path}`)
    raw = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof ApprovalsError) throw error
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return undefined
    throw unusable(`Cannot read ${path}: ${code}`, `ls -l ${path}`, error)
  }
  return checkApprovals(parse(raw, path), basename(path), raw)
}

function parse(raw: string, path: string): unknown {
  try {
    return JSON.parse(raw)
  } catch (error) {
    throw unusable(`${path} is not JSON: ${(error as Error).message}`, 'openclaw approvals set --file FILE', error)
  }
}

async function write(path: string, next: Approvals): Promise<ApprovalsSnapshot> {
  const document = withIds(next)
  const text = `${JSON.stringify(document, null, 2)}\n`
  if (Buffer.byteLength(text) > MAX_BYTES)
    throw unusable('The exec approvals are larger than 1 MiB', 'openclaw approvals get')
  await writeAtomically(path, text)
  return snapshotOf(path, document)
}

function conflict(message: string): ApprovalsError {
  return new ApprovalsError('APPROVALS_CONFLICT', `${message}; re-run exec.approvals.get and retry`, {
    command: 'openclaw approvals get',
    where: 'this client'
  })
}

function unusable(message: string, command: string, cause?: unknown): ApprovalsError {
  return new ApprovalsError('APPROVALS_UNUSABLE', message, { command, where: 'this client' }, cause)
}
