import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { LogTail, TailQuery } from '../../rpc/log-tail.ts'
import { placesOf, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { meansThisHost } from '../owner-call.ts'

/** Reads a log from a place on. */
export type Ask = (query: TailQuery) => Promise<LogTail>

/** The log of this host's gateway by its file, for when that does not answer; undefined where another one is meant. */
export async function logOfThisHost(io: Io, options: TargetOptions, error: unknown): Promise<Ask | undefined> {
  const { ConnectFailure } = await import('../../client/connect-failure.ts')
  if (!((error as Error).cause instanceof ConnectFailure) || !(await meansThisHost(io, options))) return undefined
  const file = join(placesOf(io).paths.stateDir, 'logs/gateway.log')
  if (!existsSync(file)) return undefined
  const { tailLog } = await import('../../rpc/log-tail.ts')
  return (query) => tailLog(file, query)
}
