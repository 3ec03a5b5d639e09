import { Command } from 'commander'
import { placesOf } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { printJson, printRows } from '../../output.ts'

/** `openclaw node identity`: who this node is to a gateway. Makes no key. */
export function buildIdentity(io: Io): Command {
  return new Command('identity')
    .description('Show the device id and the public key that this node pairs with')
    .option('--json', 'Print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const { readIdentity } = await import('../../../node-host/identity.ts')
      const identity = await readIdentity(placesOf(io).paths.stateDir)
      if (identity === undefined) {
        throw new CliError('NODE_IDENTITY_MISSING', 'this machine has no node key yet; the first run makes it', {
          fix: 'openclaw node run --host GATEWAY'
        })
      }
      const { id: deviceId, publicKey } = identity
      if (json === true) printJson(io, { deviceId, publicKey })
      else {
        printRows(io, [
          ['deviceId', deviceId],
          ['publicKey', publicKey]
        ])
      }
    })
}
