import { isLoopbackUrl } from '../../client/url-policy.ts'
import { portOwner } from '../../port-owner.ts'
import { shellWord } from '../../security/finding.ts'
import { inspectGateway } from '../status.ts'
import { type Check, subject } from './check.ts'
import { type DoctorContext, isRemote } from './context.ts'
import { accepts } from './running.ts'

const remote = subject('remote', 'Remote gateway')
const tunnel = subject('tunnel', 'SSH tunnel')

/** The gateway elsewhere that this host's commands talk to: the tunnel to it, and whether it answers. */
export async function remoteChecks(context: DoctorContext): Promise<Check[]> {
  const { io, env, config, timeoutMs } = context
  const fromEnv = env.OPENCLAW_GATEWAY_URL?.trim()
  if (!isRemote(context) && !fromEnv) return [remote.skipped('gateway.mode is not "remote"')]
  if (config === undefined && !fromEnv) return [remote.skipped('the configuration cannot be read')]
  const text = fromEnv || config?.gateway.remote.url
  const key = fromEnv ? 'OPENCLAW_GATEWAY_URL' : 'gateway.remote.url'
  if (text === undefined) {
    const fix = 'openclaw config set gateway.remote.url ws://127.0.0.1:18789'
    return [remote.error('gateway.remote.url is not set', { path: key, fix })]
  }
  const url = URL.parse(text)
  const tunnelled = !fromEnv && url !== null && isLoopbackUrl(url) && config?.gateway.remote.transport === 'ssh'
  const checks = tunnelled ? [await tunnelCheck(context, url)] : []
  if (checks.some(({ status }) => status === 'error')) return checks
  try {
    const report = await inspectGateway({ ...io, isTTY: false }, {}, { timeoutMs })
    const { error } = report
    if (report.reachable && error === undefined) {
      return [...checks, remote.ok(`version ${report.version} answers at ${report.url} in ${report.connectMs} ms`)]
    }
    return [...checks, unreachable(error ?? {}, key)]
  } catch (error) {
    // A configuration with which no connection is tried.
    return [...checks, unreachable(error as Error, key)]
  }
}

function unreachable(
  { message = 'it does not answer', fix }: { message?: string; fix?: unknown },
  path: string
): Check {
  const hint = typeof fix === 'string' ? `; ${fix}` : ''
  return remote.error(message + hint, { path, fix: 'openclaw gateway probe' })
}

async function tunnelCheck({ config, running }: DoctorContext, url: URL): Promise<Check> {
  const { sshTarget, sshIdentity, remotePort } = config?.gateway.remote ?? {}
  const port = Number(url.port || 80)
  const identity = sshIdentity === undefined ? '' : `-i ${shellWord(sshIdentity)} `
  const target = sshTarget === undefined ? 'user@gateway-host' : shellWord(sshTarget)
  const open = `ssh -N ${identity}-L ${port}:127.0.0.1:${remotePort ?? 18789} ${target}`
  const hint = sshTarget === undefined ? '; gateway.remote.sshTarget names no host' : ''
  if (!(await accepts({ host: '127.0.0.1', port }))) {
    return tunnel.error(`nothing listens on 127.0.0.1:${port}, the local end${hint}`, { fix: open })
  }
  const owner = await portOwner(port)
  if (owner === undefined) return tunnel.ok(`the local end listens on 127.0.0.1:${port}; whose it is cannot be told`)
  const program = owner.command.split(' ', 1)[0]?.split('/').at(-1) ?? ''
  const who = `pid ${owner.pid} (${program || 'unknown program'})`
  if (/^(ssh|sshd|autossh)\b/.test(program)) return tunnel.ok(`${who} listens on 127.0.0.1:${port}`)
  const own = running.running && owner.pid === running.pid
  const what = own ? 'this host’s own gateway' : 'no ssh'
  return tunnel.warning(
    `${who} listens on 127.0.0.1:${port}: ${what}, so commands may not reach the gateway that is meant`,
    {
      path: 'gateway.remote.url',
      fix: own ? 'openclaw config set gateway.mode local' : open
    }
  )
}
