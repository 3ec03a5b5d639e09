import { setTimeout as sleep } from 'node:timers/promises'
import { loadConfig } from '../config/load.ts'
import type { ConfigFlags } from '../config/types.ts'
import { type PortOwner, portOwner, programOf } from '../port-owner.ts'
import { placesOf } from './gateway-call.ts'
import { CliError, type Io } from './io.ts'

const TERM_GRACE_MS = 10_000
const KILL_GRACE_MS = 2_000

/**
 * What `gateway run --force` does first: ends the process that listens on the port, politely and then not. Away from a
 * terminal it ends no gateway: a script, or an agent's shell, must not take down the gateway it runs under.
 */
export async function freePort(io: Io, flags: ConfigFlags): Promise<void> {
  const { paths, env } = placesOf(io)
  const { gateway } = await loadConfig({ env, paths, flags, client: true })
  const owner = await portOwner(gateway.port)
  if (owner === undefined) return
  const name = `pid ${owner.pid} (${programOf(owner)})`
  if (owner.pid === process.pid || owner.pid === process.ppid || owner.pid === 1) {
    throw new CliError('PORT_IN_USE', `port ${gateway.port} belongs to ${name}, which --force does not stop`)
  }
  if (isGateway(owner) && !io.isTTY) {
    throw new CliError(
      'PORT_IN_USE',
      `a gateway listens on port ${gateway.port}: ${name}; --force stops it only from a terminal`,
      {
        fix: 'openclaw --profile NAME gateway --port PORT, for a second one beside it'
      }
    )
  }
  io.stderr(`stopping ${name}, which listens on port ${gateway.port}`)
  signal(owner, 'SIGTERM')
  if (await isGone(owner, gateway.port, TERM_GRACE_MS)) return
  signal(owner, 'SIGKILL')
  if (await isGone(owner, gateway.port, KILL_GRACE_MS)) return
  throw new CliError('PORT_IN_USE', `${name} still listens on port ${gateway.port}`)
}

function isGateway({ command }: PortOwner): boolean {
  return /openclaw|\bgateway\b/i.test(command)
}

function signal(owner: PortOwner, name: NodeJS.Signals): void {
  try {
    process.kill(owner.pid, name)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return
    throw new CliError(
      'PORT_IN_USE',
      `pid ${owner.pid} (${programOf(owner)}) cannot be stopped: it belongs to another user`,
      {
        fix: `sudo kill ${owner.pid}`,
        cause
      }
    )
  }
}

// The port is asked, not the pid: a pid may be another process by now.
async function isGone(owner: PortOwner, port: number, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs
  while (Date.now() < deadline) {
    await sleep(100)
    if ((await portOwner(port))?.pid !== owner.pid) return true
  }
  return false
}
