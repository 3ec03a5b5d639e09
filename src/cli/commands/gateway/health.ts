import { Command } from 'commander'
import { addTargetOptions, type TargetOptions } from '../../gateway-call.ts'
import { showHealth } from '../../health.ts'
import type { Io } from '../../io.ts'

const TIMEOUT_MS = 10_000

/** `openclaw gateway health`: like `openclaw health`, of any gateway. */
export function buildHealth(io: Io): Command {
  const command = new Command('health').description("Show a gateway's health")
  return addTargetOptions(command, TIMEOUT_MS).action((options: TargetOptions) =>
    showHealth(io, options, TIMEOUT_MS, false)
  )
}
