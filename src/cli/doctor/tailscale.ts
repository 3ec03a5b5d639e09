import type { TailscaleError } from '../../tailscale/errors.ts'
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
  const { TailscaleDaemon } = await import('../../tailscale/daemon.ts')
  try {
    const { state, dnsName } = await new TailscaleDaemon({ env, socket }).status()
    if (state === 'Running') return tailscale.ok(`connected${dnsName === undefined ? '' : ` as ${dnsName}`}`)
    return tailscale.error(`it is not connected (${state})`, { path: key, fix: 'tailscale up' })
  } catch (error) {
    const { message, fix } = error as TailscaleError
    return tailscale.error(message, { path: key, fix: fix.command })
  }
}
