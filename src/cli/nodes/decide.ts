import type { NodeRequest } from '../../client/node-entry.ts'
import { type Scope, satisfies } from '../../protocol/scopes.ts'
import { consent } from '../confirm.ts'
import { nodeName } from '../find-node.ts'
import type { TargetOptions } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson, styleOf } from '../output.ts'
import { allRequests, withAsk } from './inventory.ts'
import { printRequests, takes } from './requests.ts'

/** How a request is approved. */
export interface ApproveOptions extends TargetOptions {
  yes?: boolean
}

/** `nodes pending` */
export function pending(io: Io, options: TargetOptions): Promise<void> {
  return withAsk(io, options, ['operator.pairing'], async (ask) => {
    const requests = await allRequests(ask)
    if (options.json === true) printJson(io, { pending: requests })
    else if (requests.length > 0) printRequests(io, requests)
    else io.stdout('No node waits for approval. A device that may not connect yet: openclaw devices list')
  })
}

/** `nodes approve` */
export function approve(io: Io, id: string | undefined, options: ApproveOptions): Promise<void> {
  const scopes: Scope[] = ['operator.pairing', 'operator.write', 'operator.admin']
  return withAsk(io, options, scopes, async (ask, held, owner) => {
    const request = chosen(await allRequests(ask), id)
    if (options.json !== true) printRequests(io, [request])
    permit(request, held)
    // Off the owner's socket nobody says yes to something that they have not named.
    if (id === undefined && !owner && options.yes !== true && !(await consent('Approve it?'))) {
      throw new CliError('NOT_CONFIRMED', 'nothing was approved', {
        fix: `openclaw nodes approve ${request.requestId}`
      })
    }
    const result = await ask('node.pair.approve', { requestId: request.requestId })
    if (options.json === true) return printJson(io, result)
    io.stdout(`${styleOf(io).green('Approved.')} ${nodeName(request)} may be used as said above.`)
  })
}

/** `nodes reject` */
export function reject(io: Io, id: string, options: TargetOptions): Promise<void> {
  return withAsk(io, options, ['operator.pairing'], async (ask) => {
    const request = chosen(await allRequests(ask), id)
    const result = await ask('node.pair.reject', { requestId: request.requestId })
    if (options.json === true) printJson(io, result)
    else io.stdout(`Rejected ${nodeName(request)}. What was approved before stays; it asks again when it reconnects.`)
  })
}

function chosen(requests: readonly NodeRequest[], id: string | undefined): NodeRequest {
  const fix = 'openclaw nodes pending'
  if (id === undefined) {
    const [only, ...others] = requests
    if (only !== undefined && others.length === 0) return only
    if (only !== undefined) {
      throw new CliError('SEVERAL_PENDING', `${requests.length} nodes wait for approval; name a request`, { fix })
    }
    throw new CliError('NOTHING_PENDING', 'no node waits for approval', {
      fix: 'openclaw devices list (a device has to be let in before its node asks)'
    })
  }
  const word = id.trim().toLowerCase()
  const found = requests.filter(({ requestId }) => word.length >= 4 && requestId.startsWith(word))
  if (found.length === 1) return found[0]!
  throw new CliError('REQUEST_UNKNOWN', `no request begins with "${printable(id)}", or more than one does`, { fix })
}

// The gateway would refuse it as well; here what is missing can be said before.
function permit(request: NodeRequest, held: ReadonlySet<Scope>): void {
  const { requiredApproveScopes = [], requestId } = request
  const missing = requiredApproveScopes.find((scope) => !satisfies(held, scope as Scope))
  if (missing === undefined) return
  throw new CliError('MISSING_SCOPE', `approving this takes ${takes(request)}, and this credential has not got it`, {
    fix: `openclaw nodes approve ${requestId} (on the gateway host)`
  })
}
