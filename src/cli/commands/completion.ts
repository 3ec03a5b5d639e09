import { Command } from 'commander'
import type { Io } from '../io.ts'

/** `openclaw completion`. */
export function build(_io: Io): Command {
  return new Command('completion')
}
