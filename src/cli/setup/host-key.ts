import { sshRoute } from '../../client/ssh/endpoints.ts'
import { rememberHostKey, shownHostKey } from '../../client/ssh/host-key.ts'
import { describeTarget } from '../../client/ssh/route.ts'
import { sshSettings } from '../../client/ssh/settings.ts'
import type { Config } from '../../config/types.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import type { Prompts } from './prompts.ts'

/**
 * Shows the key of a host that ssh does not know, and lets ssh remember it when a person says that it is the right one.
 * Without one, throws what was to be compared, and how.
 */
export async function mayTrustHost(
  io: Io,
  { gateway }: Config,
  timeoutMs: number,
  error: CliError,
  ask: Prompts | undefined
): Promise<void> {
  const { paths, env } = placesOf(io)
  const route = sshRoute(gateway.remote, paths.home)
  if (route === undefined) throw error
  // Which of the hosts on the way is not known, only ssh itself can tell a person; and each could speak for the others.
  const { proxyJump, proxyCommand } = await sshSettings(route.target, env)
  if (proxyJump !== undefined || proxyCommand !== undefined) throw error
  const { kind, fingerprint } = await shownHostKey(route, { env, timeoutMs })
  const where = describeTarget(route.target)
  if (ask === undefined) {
    throw new CliError(error.code, `the host key of ${where} is not known here; it shows ${kind} ${fingerprint}`, {
      ...(error.fix === undefined ? {} : { fix: error.fix }),
      cause: error
    })
  }
  ask.note(
    `${where} shows the key\n  ${kind} ${fingerprint}\nOn that host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" (or the file of that kind) prints the same.`,
    'A host that ssh does not know'
  )
  if (!(await ask.confirm('Is it the same, and shall ssh remember it?', false))) throw error
  const kept = await rememberHostKey(route, { env, timeoutMs })
  if (kept.fingerprint === fingerprint) return
  throw new CliError('SSH_HOST_KEY_CHANGED', `${where} showed two keys: ${fingerprint}, and then ${kept.fingerprint}`, {
    fix: 'somebody may stand in between; remove the second from ~/.ssh/known_hosts with "ssh-keygen -R"'
  })
}
