import { Command } from 'commander'
import type { Io } from '../io.ts'
import { buildRun } from './gateway/run.ts'

/** `openclaw gateway`: runs the gateway, and asks a running one. */
export function build(io: Io): Command {
  return new Command('gateway')
    .description('Run and query the gateway; without a command it runs in this terminal, like "gateway run"')
    .addCommand(buildRun(io), { isDefault: true })
}
