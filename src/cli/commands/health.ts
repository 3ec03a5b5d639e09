import { Command } from 'commander'
import { addTargetOptions, type TargetOptions } from '../gateway-call.ts'
import { showHealth } from '../health.ts'
import type { Io } from '../io.ts'

const TIMEOUT_MS = 60_000

/** `openclaw health`: how the configured gateway is. */
export function build(io: Io): Command {
  const command = new Command('health')
    .description("Show the gateway's health; exit code 0 means well")
    .option('--verbose', 'Ask for a fresh look instead of the last one')
    .option('--debug', 'The same as --verbose')
  return addTargetOptions(command, TIMEOUT_MS).action(
    (options: TargetOptions & { verbose?: boolean; debug?: boolean }) =>
      showHealth(io, options, TIMEOUT_MS, options.verbose === true || options.debug === true)
  )
}
