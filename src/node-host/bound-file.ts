import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, constants, lstat, realpath, stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import type { Program } from '../approvals/plan.ts'
import { isCarrier, scriptOf, unwrap } from '../approvals/programs.ts'
import { commandsOf } from '../approvals/script.ts'

/** A file that decides what a command does and that could be changed between its approval and its run. */
export interface BoundFile {
  argvIndex: number
  path: string
  sha256: string
}

/** What an approval rests on: at most one such file, or the reason why it cannot be told. */
export type Binding = { file: BoundFile | undefined } | { unbindable: string }

const MAX_BYTES = 64 * 1024 * 1024
const MAX_DEPTH = 4

const INTERPRETER =
  /^(sh|bash|dash|zsh|ksh|ash|fish|python|pypy|node|nodejs|deno|bun|tsx|ruby|perl|php|lua|Rscript)[\d.]*$/
/** Their code is their first argument, unless an option names a file. */
const FILTER = /^(sed|awk|gawk|mawk|nawk)$/

/**
 * Finds the files that a command takes its code from: programs and scripts that this node's user could rewrite. An
 * approval is for what they hold now, so a command with more than one of them, or with code that its words do not name,
 * is not offered for approval at all.
 */
export async function bindFile(
  argv: readonly string[],
  cwd: string,
  find: (word: string) => Program
): Promise<Binding> {
  const sources = sourcesOf(argv, cwd, find, 0)
  if (typeof sources === 'string') return { unbindable: sources }
  const files = new Map<string, number>()
  for (const { path, index } of sources) {
    if (await isChangeable(path)) files.set(path, index ?? argv.length - 1)
  }
  if (files.size > 1) return { unbindable: 'approval cannot bind more than one file that may change' }
  const [only] = files
  if (only === undefined) return { file: undefined }
  const [path, argvIndex] = only
  const sha256 = await digestOf(path)
  return sha256 === undefined ? { unbindable: `approval cannot bind ${path}` } : { file: { argvIndex, path, sha256 } }
}

interface Source {
  path: string
  /** Its place in the command; undefined for a command inside the command. */
  index: number | undefined
}

// Every file that code is taken from, or the reason why that cannot be told.
function sourcesOf(
  argv: readonly string[],
  cwd: string,
  find: (word: string) => Program,
  depth: number
): Source[] | string {
  const program = find(argv[0] ?? '')
  const { resolvedPath, realPath } = program
  if (resolvedPath === undefined) return 'approval requires programs that this node finds'
  const at = (index: number) => (depth === 0 ? index : undefined)
  const own: Source = { path: resolvedPath, index: at(0) }
  const script = scriptOf(argv, resolvedPath)
  const wrapped = unwrap(argv, resolvedPath)
  const inner = script === undefined ? wrapped && [wrapped] : commandsOf(script)
  if (script !== undefined || inner !== undefined) {
    if (inner === undefined || depth === MAX_DEPTH) return 'approval cannot bind what this shell command would run'
    const each = inner.map((command) => sourcesOf(command, cwd, find, depth + 1))
    const reason = each.find((found) => typeof found === 'string')
    return reason ?? [own, ...(each as Source[][]).flat()]
  }
  const [, first = ''] = argv
  const names = [resolvedPath, realPath ?? ''].map((path) => basename(path))
  if (names.some((name) => FILTER.test(name))) {
    return argv.some((word) => /^(-\w*f|--file)/.test(word)) ? UNBINDABLE : [own]
  }
  if (names.some((name) => INTERPRETER.test(name))) {
    // Code in the arguments themselves is bound with them; any other option may load a file from anywhere.
    if (/^-(l?c|e|p|-eval|-print)$/.test(first)) return [own]
    return first === '' || first.startsWith('-') ? UNBINDABLE : [own, { path: resolve(cwd, first), index: at(1) }]
  }
  return isCarrier({ argv, ...program }) ? UNBINDABLE : [own]
}

const UNBINDABLE = 'approval cannot bind this interpreter or runner command'

// A link can be made to lead elsewhere, so it counts like what it leads to.
async function isChangeable(path: string): Promise<boolean> {
  const real = await realpath(path).catch(() => undefined)
  if (real === undefined) return true
  return !((await isFixed(path)) && (real === path || (await isFixed(real))))
}

// For root every file is writable: what belongs to the system counts as the system's all the same.
async function isFixed(path: string): Promise<boolean> {
  const found = await lstat(path)
  const system = /^\/(usr|bin|sbin|lib|lib64|opt|nix|System)\//.test(path)
  if (system && found.uid === 0 && (found.isSymbolicLink() || (found.mode & 0o022) === 0)) return true
  const writable = await Promise.all([path, dirname(path)].map((each) => access(each, constants.W_OK).then(YES, NO)))
  // Whoever can write the folder can put another file in its place.
  return !writable.includes(true)
}

const YES = () => true
const NO = () => false

async function digestOf(path: string): Promise<string | undefined> {
  try {
    const found = await stat(path)
    if (!found.isFile() || found.size > MAX_BYTES) return undefined
    const hash = createHash('sha256')
    for await (const piece of createReadStream(path)) hash.update(piece)
    return hash.digest('hex')
  } catch {
    return undefined
  }
}
