import { Command } from 'commander'
import { approve, type DecideOptions, grant, reject } from '../devices/decide.ts'
import { clear, list, type ManageOptions, remove, rename, revoke, rotate } from '../devices/manage.ts'
import { addTargetOptions, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { TIMEOUT_MS } from '../owner-call.ts'
import { collect } from '../scope-words.ts'
import { addSetupOptions, joinCode, type SetupOptions, setupCode } from '../setup-code.ts'

const NAMED = 'Its id, the start of its id, or its name'

/** `openclaw devices`: who may connect, who would like to, and ending either; also while no gateway runs. */
export function build(io: Io): Command {
  const command = new Command('devices')
    .description('Let devices in, give them more, and end either; works while the gateway is stopped, too')
    .usage('<command> [options]')
    .addHelpText(
      'after',
      `
A device that comes for the first time, or asks for more, leaves a request for five minutes.
On the gateway's own host these commands need no credential.

Examples:
  openclaw devices list
  openclaw devices approve --latest
  openclaw devices grant "Chrome on Linux" --admin
  openclaw devices revoke 3f2a9c --role node`
    )
  const add = (name: string, description: string): Command =>
    addTargetOptions(command.command(name).description(description), TIMEOUT_MS)

  add('list', 'Show who waits, with what they would get and why, and who is in').action((options: TargetOptions) =>
    list(io, options)
  )
  add('approve', 'Let a waiting device in: the one you name, the only one, or the latest')
    .argument('[request]', 'The id of the request, or the start of it')
    .option('--latest', 'The newest request, whichever it is')
    .option('-y, --yes', 'Approve without asking, away from the gateway host')
    .action((request: string | undefined, options: DecideOptions) => approve(io, request, options))
  add('reject', 'Turn a waiting device away')
    .argument('<request>', 'The id of the request, or the start of it')
    .action((request: string, options: TargetOptions) => reject(io, request, options))
  add('grant', 'Give a device more, whether it waits, is paired, or was revoked')
    .argument('<device>', NAMED)
    .option('--admin', 'Full control')
    .option('--scopes <scopes>', 'What it may do beside what it may now, such as read,write', collect)
    .addHelpText(
      'after',
      `
Examples:
  openclaw devices grant 3f2a9c1e --admin
  openclaw devices grant "Kitchen Mac" --scopes read,approvals`
    )
    .action((device: string, options: DecideOptions) => grant(io, device, options))
  add('remove', 'End a pairing; the device has to be approved again')
    .argument('[device]', NAMED)
    .option('--device <device>', 'The same, as an option')
    .action((device: string | undefined, options: ManageOptions) => remove(io, device, options))
  add('rename', 'Give a device a name that you recognise')
    .argument('[words...]', 'The device, and its new name')
    .option('--device <device>', 'The device, as an option')
    .option('--name <name>', 'The new name, as an option')
    .action((words: string[], options: ManageOptions) => rename(io, words, options))
  add('rotate', "Replace a device's tokens; it needs the shared secret to come back")
    .argument('[device]', NAMED)
    .option('--device <device>', 'The same, as an option')
    .option('--role <role>', 'operator or node; needed where it has both')
    .option('--scope <scopes>', 'Only these from now on, within what it has; may be repeated', collect)
    .option('--no-scopes', 'No scopes from now on')
    .action((device: string | undefined, options: ManageOptions) => rotate(io, device, options))
  add('revoke', "End a device's access in one role, at once; it stays on the list")
    .argument('[device]', NAMED)
    .option('--device <device>', 'The same, as an option')
    .option('--role <role>', 'operator or node; needed where it has both')
    .action((device: string | undefined, options: ManageOptions) => revoke(io, device, options))
  add('clear', 'End every pairing, and with --pending every request')
    .option('--pending', 'The requests that wait as well')
    .option('-y, --yes', 'Without asking')
    .action((options: ManageOptions) => clear(io, options))
  addSetupOptions(
    command
      .command('setup-code')
      .description('Make a one-time code and show it as a QR code; the same as "openclaw qr"')
  ).action((options: SetupOptions) => setupCode(io, options))
  add('join-code', 'Make a link that pairs one node, once, within ten minutes').action((options: TargetOptions) =>
    joinCode(io, options)
  )
  return command
}
