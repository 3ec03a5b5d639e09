import { Command } from 'commander'
import type { Io } from '../io.ts'
import { addSetupOptions, type SetupOptions, setupCode } from '../setup-code.ts'

/** `openclaw qr`: a phone scans it, and is paired. */
export function build(io: Io): Command {
  const command = new Command('qr').description('Pair a phone or a node: a one-time code, as a QR code')
  return addSetupOptions(command).action((options: SetupOptions) => setupCode(io, options))
}
