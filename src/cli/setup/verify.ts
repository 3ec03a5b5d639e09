import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectFailure } from '../../client/connect-failure.ts'
import { refusalDetails } from '../../client/gateway-error.ts'
import { describeEndpoint } from '../../client/target.ts'
import type { Config } from '../../config/types.ts'
import { withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'

/** What a gateway showed that let this host in. */
export interface Verified {
  url: string
  version: string
  method: string
  /** Where the credential came from that was sent; undefined where none was needed. */
  credential: string | undefined
  scopes: readonly string[]
}

/** How a configuration is tried. */
interface VerifyOptions {
  config: Config
  timeoutMs: number
  /** For how long somebody may think about a pairing request, in milliseconds. */
  waitMs: number
  bootstrapToken?: string | undefined
  /** Hears of the request that somebody has to approve. */
  onPairing(requestId: string): void
}

const ASK_AGAIN_MS = 2_000

/** Connects as every command will, and asks for the gateway's health; waits while the gateway's owner has to let this host in. */
export async function verify(io: Io, options: VerifyOptions): Promise<Verified> {
  const { waitMs, onPairing } = options
  const deadline = Date.now() + waitMs
  let shown: string | undefined
  for (;;) {
    try {
      return await once(io, options)
    } catch (error) {
      const requestId = pendingRequest(error)
      if (requestId === undefined || Date.now() >= deadline) throw error
      if (requestId !== shown) onPairing(requestId)
      shown = requestId
    }
    await sleep(Math.min(ASK_AGAIN_MS, Math.max(1, deadline - Date.now())))
  }
}

/** The pairing request that a failure names. */
function pendingRequest(error: unknown): string | undefined {
  if (!(error instanceof CliError && error.cause instanceof ConnectFailure)) return undefined
  const { code, requestId } = refusalDetails(error.cause.reason)
  return code === 'PAIRING_REQUIRED' ? requestId : undefined
}

function isThroughSsh({ gateway: { mode, remote } }: Config): boolean {
  return mode === 'remote' && remote.transport === 'ssh' && remote.sshTarget !== undefined
}

async function once(io: Io, { config, timeoutMs, bootstrapToken }: VerifyOptions): Promise<Verified> {
  const wants = {
    // What the commands that follow need: a device that asks for less would have to ask again.
    scopes: ['operator.admin', 'operator.write', 'operator.read'] as const,
    mode: config.gateway.mode ?? 'local',
    timeoutMs,
    config,
    bootstrapToken,
    // A tunnel that is up already may lead to another host.
    ...(isThroughSsh(config) ? { ssh: { only: 'own' } as const } : {})
  }
  return withGateway(io, {}, wants, async ({ client, hello, endpoint, credentials }) => {
    await client.request('health', {}, { timeoutMs })
    const { method, scopes } = hello.auth
    const { token, password, deviceToken } = credentials ?? {}
    const credential = (token ?? password ?? deviceToken)?.source
    return { url: describeEndpoint(endpoint), version: hello.server.version, method, credential, scopes }
  })
}
