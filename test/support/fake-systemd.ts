import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { tempDir } from './gateway.ts'

/**
 * A user's systemd in the place of the real one, which needs a login session: `systemctl --user` that starts what a unit
 * says with the environment that it says, and nothing of this process; `journalctl` and `loginctl` beside it.
 */
export interface FakeSystemd {
  /** The environment of a shell of its user. */
  env: Record<string, string>
  home: string
  unitPath(unit: string): string
  /** How its programs were called. */
  calls(): string[]
  /** The process of a unit; undefined while none runs. */
  pidOf(unit: string): number | undefined
}

/** Makes one with a home of its own; whatever it started is ended after the test. */
export function fakeSystemd(t: Test): FakeSystemd {
  const home = tempDir(t)
  const bin = tempDir(t)
  const log = join(bin, 'calls')
  writeFileSync(join(bin, 'systemctl'), `#!${process.execPath}\n${SYSTEMCTL}`, { mode: 0o755 })
  writeFileSync(join(bin, 'journalctl'), '#!/bin/sh\ntail -n "$5" "$(dirname "$0")/$3.log"\n', { mode: 0o755 })
  writeFileSync(join(bin, 'loginctl'), '#!/bin/sh\necho yes\n', { mode: 0o755 })
  const state = (unit: string) => {
    const file = join(bin, `${unit}.json`)
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { pid?: number; exit?: number }) : {}
  }
  const pidOf = (unit: string) => (state(unit).exit === undefined ? state(unit).pid : undefined)
  t.teardown(async () => {
    for (const unit of units()) {
      const pid = pidOf(unit)
      if (pid === undefined) continue
      process.kill(pid, 'SIGKILL')
      while (pidOf(unit) !== undefined) await sleep(20)
    }
  })
  const calls = () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [])
  const units = () => new Set(calls().flatMap((call) => /\S+\.service/.exec(call) ?? []))
  return {
    home,
    env: { HOME: home, PATH: `${bin}:${process.env.PATH}` },
    unitPath: (unit) => join(home, '.config/systemd/user', unit),
    calls,
    pidOf
  }
}

const SYSTEMCTL = String.raw`
const { appendFileSync, existsSync, openSync, readFileSync, renameSync, writeFileSync } = require('node:fs')
const { dirname, join } = require('node:path')
const { spawn } = require('node:child_process')
const here = dirname(__filename)
const words = process.argv.slice(2).filter((word) => word !== '--user')
const unit = words.findLast((word) => word.endsWith('.service'))
const stateFile = join(here, unit + '.json')
const put = (state) => {
  writeFileSync(stateFile + process.pid, JSON.stringify(state))
  renameSync(stateFile + process.pid, stateFile)
}
const state = () => (existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : {})
const running = () => state().pid !== undefined && state().exit === undefined
const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
if (words[0] !== 'supervise') appendFileSync(join(here, 'calls'), 'systemctl ' + process.argv.slice(2).join(' ') + '\n')

const quoted = (line) => [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word.replaceAll(/\\(.)/g, '$1').replaceAll('%%', '%'))
function stop() {
  if (running()) process.kill(state().pid, 'SIGTERM')
  while (running()) pause()
  put({})
}
function start() {
  if (running()) return
  put({})
  spawn(process.execPath, [__filename, 'supervise', unit], { detached: true, stdio: 'ignore' }).unref()
  while (state().pid === undefined) pause()
}
if (words[0] === 'supervise') {
  const text = readFileSync(join(process.env.HOME, '.config/systemd/user', unit), 'utf8')
  const lines = (key) => text.split('\n').filter((line) => line.startsWith(key + '=')).map((line) => line.slice(key.length + 1))
  // Variables are looked for in what a program is told, not in its own name.
  const [program, ...rest] = quoted(lines('ExecStart')[0])
  const args = rest.map((word) => word.replaceAll('$$', '$'))
  const env = Object.fromEntries(lines('Environment').flatMap(quoted).map((pair) => pair.split(/=(.*)/s)))
  const out = openSync(join(here, unit + '.log'), 'a')
  const child = spawn(program, args, { cwd: process.env.HOME, env: { HOME: process.env.HOME, ...env }, stdio: ['ignore', out, out] })
  child.once('spawn', () => put({ pid: child.pid }))
  child.once('error', () => put({ pid: 0, exit: 203 }))
  child.once('exit', (code) => put({ pid: child.pid, exit: code ?? 1 }))
} else if (words[0] === 'restart') {
  stop()
  start()
} else if (words[0] === 'start') start()
else if (words[0] === 'stop' || (words[0] === 'disable' && words.includes('--now'))) stop()
else if (words[0] === 'show') {
  const { pid = 0, exit } = state()
  const active = running() ? ['active', 'running'] : exit === undefined || exit === 0 ? ['inactive', 'dead'] : ['activating', 'auto-restart']
  console.log(['ActiveState=' + active[0], 'SubState=' + active[1], 'MainPID=' + (running() ? pid : 0), 'UnitFileState=enabled',
    'Result=' + (exit ? 'exit-code' : 'success'), 'ExecMainStatus=' + (exit ?? 0)].join('\n'))
}
`
