import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'

/** How many named tests passed and failed. */
export interface Tally {
  passed: number
  failed: number
}

/** Runs tap with this Node and counts from the TAP it produced, not from what the reporter printed. */
export async function runTap(args: readonly string[]): Promise<Tally> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'tap-'))
  const manifest = createRequire(import.meta.url).resolve('tap/package.json')
  const bin = path.join(path.dirname(manifest), 'dist/esm/run.mjs')
  // Away from a terminal: failures alone, without cursor movements.
  const reporter = process.stdout.isTTY ? 'base' : 'min'
  const flags = [`--reporter=${reporter}`, `--output-dir=${folder}`]
  const child = spawn(process.execPath, [bin, 'run', ...flags, ...args], { stdio: 'inherit' })
  const [code] = (await once(child, 'exit')) as [number | null]
  const tally = { passed: 0, failed: 0 }
  for (const file of globSync('**/*.tap', { cwd: folder }).sort()) {
    const text = readFileSync(path.join(folder, file), 'utf8')
    const { passed, failed } = countTests(text)
    // A file that ran no test and does not say that it was skipped broke while loading.
    if (passed + failed === 0 && !/# skip/i.test(text)) tally.failed++
    tally.passed += passed
    tally.failed += failed
    if (!process.stdout.isTTY) console.log(`${file.slice(0, -'.tap'.length)}: ${passed} passed, ${failed} failed`)
  }
  rmSync(folder, { recursive: true, force: true })
  // A run that broke outside of any test (a crash, no tests found) is a failure too.
  if (code !== 0 && tally.failed === 0) tally.failed = 1
  return tally
}

/** Counts the innermost named tests of raw TAP; a skipped test counts as neither. */
function countTests(tap: string): Tally {
  const tally = { passed: 0, failed: 0 }
  // One entry an open subtest, by indentation: whether a named test inside it was counted, and whether one failed.
  const open: { indent: number; named: boolean; failed: boolean }[] = []
  for (const line of tap.split('\n')) {
    const start = /^( *)# Subtest: /.exec(line)
    if (start !== null) {
      open.push({ indent: start[1]!.length, named: false, failed: false })
      continue
    }
    const end = /^( *)(not )?ok \d+ - .*# time=/.exec(line)
    const last = open.at(-1)
    if (end === null || last === undefined || end[1]!.length !== last.indent) continue
    open.pop()
    const failed = end[2] !== undefined
    if (!last.named && !/ # SKIP/i.test(line)) tally[failed ? 'failed' : 'passed']++
    // A parent that failed although none of its tests did: a bail-out, a timeout, a failing teardown.
    else if (last.named && failed && !last.failed) tally.failed++
    const parent = open.at(-1)
    if (parent !== undefined) {
      parent.named = true
      parent.failed ||= failed
    }
  }
  return tally
}
