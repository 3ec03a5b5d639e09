import { checkGatewayUrl } from '../../client/url-policy.ts'
import { ConfigError } from '../../config/errors.ts'
import { resolveConfig } from '../../config/load.ts'
import type { Env } from '../../config/paths.ts'
import { type ConfigSource, readSource } from '../../config/source.ts'
import type { Config, Paths } from '../../config/types.ts'
import { type Facts, gatherFacts } from '../../security/facts.ts'
import { placesOf } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { type Running, runningGateway } from './running.ts'

/** What the checks look at; gathered once, read-only. */
export interface DoctorContext {
  io: Io
  paths: Paths
  /** The environment with what the state folder's `.env` adds. */
  env: Env
  /** Undefined when the file cannot be read or parsed. */
  source: ConfigSource | undefined
  /** The client's view of the configuration; undefined when the parts that a client needs are broken. */
  config: Config | undefined
  /** Why one of the two is missing. */
  problem: ConfigError | undefined
  facts: Facts
  running: Running
  deep: boolean
  timeoutMs: number
}

/** Gathers what the checks look at. Nothing is changed and no program runs. */
export async function gather(io: Io, options: { deep: boolean; timeoutMs: number }): Promise<DoctorContext> {
  const { paths, env } = placesOf(io)
  const [facts, running] = await Promise.all([
    gatherFacts({ env, paths, checkUrl: checkGatewayUrl }),
    runningGateway(paths)
  ])
  return { io, paths, env, ...(await read(paths, env)), facts, running, ...options }
}

async function read(paths: Paths, env: Env): Promise<Pick<DoctorContext, 'source' | 'config' | 'problem'>> {
  let source: ConfigSource | undefined
  try {
    source = readSource(paths, env)
    return { source, config: await resolveConfig(source, { env, paths, client: true }), problem: undefined }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { source, config: undefined, problem: error }
  }
}

/** Reports whether this host's commands talk to a gateway elsewhere, so that none is expected here. */
export function isRemote({ config, source }: Pick<DoctorContext, 'config' | 'source'>): boolean {
  const gateway = source?.value.gateway as { mode?: unknown } | undefined
  return (config?.gateway.mode ?? gateway?.mode) === 'remote'
}
