import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StabilitySnapshot } from './stability.ts'

const PREFIX = 'openclaw-stability-'
const KEPT = 10
const FRAMES_LENGTH = 8_000

/** What a process left behind when it ended badly. */
export interface StabilityBundle {
  version: 1
  generatedAt: string
  reason: string
  process: { pid: number; platform: string; arch: string; node: string; uptimeMs: number }
  /** Without its message, which may hold anything: the log has it. */
  error?: { name: string; code?: string; stack?: string }
  snapshot: StabilitySnapshot
}

function bundleFolder(stateDir: string): string {
  return join(stateDir, 'logs/stability')
}

/** The bundles of a state folder, the newest first. */
export function listBundles(stateDir: string): string[] {
  const folder = bundleFolder(stateDir)
  try {
    const names = readdirSync(folder).filter((name) => name.startsWith(PREFIX) && name.endsWith('.json'))
    return names
      .sort()
      .reverse()
      .map((name) => join(folder, name))
  } catch {
    return []
  }
}

/** Writes down how a process ends, at once, and forgets the oldest; returns the file. */
export function writeBundle(stateDir: string, reason: string, error: unknown, snapshot: StabilitySnapshot): string {
  const generatedAt = new Date().toISOString()
  const { pid, platform, arch, versions } = process
  const bundle: StabilityBundle = {
    version: 1,
    generatedAt,
    reason,
    process: { pid, platform, arch, node: versions.node, uptimeMs: Math.round(process.uptime() * 1000) },
    ...(error instanceof Error ? { error: errorFacts(error) } : {}),
    snapshot
  }
  const folder = bundleFolder(stateDir)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${PREFIX}${generatedAt.replaceAll(':', '-')}-${pid}-${reason}.json`)
  writeFileSync(file, `${JSON.stringify(bundle, null, 2)}\n`, { mode: 0o600 })
  for (const old of listBundles(stateDir).slice(KEPT)) rmSync(old, { force: true })
  return file
}

function errorFacts(error: Error): NonNullable<StabilityBundle['error']> {
  const { code } = error as NodeJS.ErrnoException
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    stack: frames.join('\n').slice(0, FRAMES_LENGTH)
  }
}
