import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Check, subject } from './check.ts'
import { type DoctorContext, isRemote } from './context.ts'

const tailscale = subject('tailscale', 'Tailscale')

/** Tailscale, where the configuration counts on it. */
export async function tailscaleCheck(context: DoctorContext): Promise<Check> {
  const { config, env } = context
  const gateway = config?.gateway
  if (gateway === undefined || isRemote(context)) return tailscale.skipped('no gateway of this host uses it')
  const { mode, socket } = gateway.tailscale
  const key = mode === 'off' ? 'gateway.bind' : 'gateway.tailscale.mode'
  if (mode === 'off' && gateway.bind !== 'tailnet') return tailscale.skipped('the configuration does not use it')
  const state = await tailscaleState(env, socket)
  if ('problem' in state) return tailscale.error(state.problem, { path: key, fix: state.fix })
  if (state.backend !== 'Running') {
    return tailscale.error(`it is not connected (${state.backend})`, { path: key, fix: 'tailscale up' })
  }
  return tailscale.ok(`connected${state.name === '' ? '' : ` as ${state.name}`}`)
}

/** Asks the command for its state; the one place that knows how. */
async function tailscaleState(
  env: DoctorContext['env'],
  socket: string | undefined
): Promise<{ backend: string; name: string } | { problem: string; fix: string }> {
  const at = socket === undefined ? [] : [`--socket=${socket}`]
  try {
    const { stdout } = await promisify(execFile)('tailscale', [...at, 'status', '--json'], {
      env: { ...env },
      timeout: 2_000,
      maxBuffer: 8 * 1024 * 1024
    })
    const { BackendState: backend = 'unknown', Self } = JSON.parse(stdout) as {
      BackendState?: string
      Self?: { DNSName?: string }
    }
    return { backend, name: (Self?.DNSName ?? '').replace(/\.$/, '') }
  } catch (error) {
    const { code, killed } = error as { code?: unknown; killed?: boolean }
    if (code === 'ENOENT') {
      return {
        problem: 'there is no tailscale command on this host',
        fix: 'curl -fsSL https://tailscale.com/install.sh | sh'
      }
    }
    const why = killed === true ? 'did not answer within 2 s' : 'does not answer'
    return { problem: `tailscaled ${why}`, fix: 'sudo systemctl start tailscaled' }
  }
}
