import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const POLICY = '/usr/sbin/policy-rc.d'

/** The first of these programs that is on PATH, or where a system keeps its servers. */
export function findProgram(names: readonly string[], env: NodeJS.ProcessEnv = process.env): string | undefined {
  const folders = [...(env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin']
  return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find(isExecutable)
}

/** Reports whether a file can be run. */
export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Installs Debian packages where that is nobody's machine: in CI or in a container, as root. A package that brings a
 * service does not start it. Reports whether it could.
 */
export function installPackages(packages: readonly string[], env: NodeJS.ProcessEnv = process.env): boolean {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return false
  if (!env.CI && !inContainer(env)) return false
  console.log(`installing the Debian packages ${packages.join(' ')}`)
  const options = {
    stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[],
    env: { ...env, DEBIAN_FRONTEND: 'noninteractive' }
  }
  const quiet = !existsSync(POLICY)
  if (quiet) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    spawnSync('apt-get', ['update', '-qq'], options)
    return spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], options).status === 0
  } finally {
    if (quiet) rmSync(POLICY)
  }
}

function inContainer(env: NodeJS.ProcessEnv): boolean {
  if (env.container || existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return true
  try {
    return !['systemd', 'init', 'launchd'].includes(readFileSync('/proc/1/comm', 'utf8').trim())
  } catch {
    return false
  }
}
