import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { accepts, runningGateway } from '../doctor/running.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, withProgress } from '../output.ts'
import { ownServer } from '../service/own-command.ts'

/** How the gateway of this host came to run. */
export interface Started {
  state: 'running' | 'started' | 'installed' | 'stopped'
  pid?: number | undefined
}

const START_MS = 30_000
const LOOK_MS = 100

/** Starts the gateway of this host in a process of its own, which stays when this one ends. */
export async function startInBackground(io: Io): Promise<Started> {
  return withProgress(io, 'Starting the gateway', start(io))
}

async function start(io: Io): Promise<Started> {
  const { paths } = placesOf(io)
  const logs = join(paths.stateDir, 'logs')
  mkdirSync(logs, { recursive: true, mode: 0o700 })
  // Its log is beside it; here is what it says when it does not come so far.
  const errors = join(logs, 'gateway-start.log')
  const file = openSync(errors, 'w', 0o600)
  const [program, ...words] = ownServer(io, ['gateway', 'run'])
  const child = spawn(program!, words, { detached: true, env: io.env, stdio: ['ignore', 'ignore', file] })
  closeSync(file)
  let ended = false
  child.once('error', () => {
    ended = true
  })
  child.once('exit', () => {
    ended = true
  })
  const deadline = Date.now() + START_MS
  while (!ended && Date.now() < deadline) {
    if (await accepts({ path: paths.localSocket })) {
      child.unref()
      return { state: 'started', pid: child.pid }
    }
    await sleep(LOOK_MS)
  }
  child.kill()
  const said = printable(readFileSync(errors, 'utf8')).trim().split('\n').slice(-5).join('\n')
  throw new CliError('GATEWAY_NOT_STARTED', `the gateway did not start${said === '' ? '' : `: ${said}`}`, {
    fix: 'openclaw gateway run'
  })
}

/** The gateway that runs on this host's state folder; undefined when none does. */
export async function foundRunning(io: Io): Promise<Started | undefined> {
  const { answers, pid } = await runningGateway(placesOf(io).paths)
  return answers ? { state: 'running', pid } : undefined
}
