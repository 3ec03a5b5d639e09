import { Type } from 'typebox'
import { compileCidrs } from '../../auth/addresses.ts'
import { within } from '../../auth/scopes.ts'
import { digest, TOKEN_PREFIX } from '../../auth/secrets.ts'
import type { EventKind } from '../../protocol/audit.ts'
import { invalidRequest, type RpcError } from '../../protocol/errors.ts'
import { SCOPES } from '../../protocol/scopes.ts'
import { freshToken, type NamedToken, type TokenStore, tokenState } from '../../store/tokens.ts'
import type { Trail } from '../../store/trail.ts'
import { callerName, causedBy } from '../caused-by.ts'
import type { Hub } from '../hub.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'

/** What the methods of named tokens work on. */
export interface TokenMethodDeps {
  tokens: TokenStore
  hub: Hub
  trail: Trail
}

const closed = { additionalProperties: false } as const
const text = Type.String({ minLength: 1, maxLength: 256 })
const ms = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })
const MAX_CIDRS = 32
/** Ten years, leap days and all. */
const LONGEST_MS = 10 * 366 * 86_400_000

/** Named tokens from the operator's side: making, looking at and ending them. Ours, not the reference's. */
export function tokenMethods({ tokens, hub, trail }: TokenMethodDeps): Method[] {
  return [
    defineMethod({
      name: 'gateway.tokens.create',
      scope: 'operator.admin',
      write: true,
      params: Type.Object(
        {
          name: text,
          scopes: Type.Array(Type.Enum([...SCOPES]), { minItems: 1, maxItems: SCOPES.length, uniqueItems: true }),
          expiresInMs: Type.Optional(ms),
          expiresAtMs: Type.Optional(ms),
          cidrs: Type.Optional(Type.Array(text, { minItems: 1, maxItems: MAX_CIDRS, uniqueItems: true }))
        },
        closed
      ),
      async handler({ name, scopes, cidrs = [], ...ends }, caller) {
        checkName(name)
        checkCidrs(cidrs)
        const expiresAtMs = expiry(ends)
        // Nobody hands out more than they hold (S12).
        if (!within(scopes, caller.scopes)) throw invalidRequest('token denied: it would hold more than its maker')
        const secret = freshToken()
        const input = { name, scopes, cidrs, expiresAtMs, createdBy: callerName(caller) }
        const made = await tokens.create(input, digest(secret))
        if ('refused' in made) throw refusals[made.refused]
        note('token.created', `${name}: ${scopes.join(', ')}`, caller)
        const { id, createdAtMs } = made
        return { token: secret, id, name, scopes, expiresAtMs, cidrs, createdAtMs }
      }
    }),
    defineMethod({
      name: 'gateway.tokens.list',
      scope: 'operator.admin',
      params: Type.Object({}, closed),
      async handler() {
        const now = Date.now()
        const connected = new Set([...hub.receivers()].map(({ caller }) => caller?.token?.id))
        const entry = (token: NamedToken) => ({
          ...token,
          state: tokenState(token, now),
          connected: connected.has(token.id)
        })
        return { tokens: (await tokens.list()).map(entry) }
      }
    }),
    defineMethod({
      name: 'gateway.tokens.revoke',
      scope: 'operator.admin',
      write: true,
      params: Type.Object({ id: Type.Optional(text), name: Type.Optional(text) }, closed),
      async handler({ id, name }, caller) {
        const which = id ?? name
        if (which === undefined || (id !== undefined && name !== undefined)) {
          throw invalidRequest('invalid gateway.tokens.revoke params: give either id or name')
        }
        const revoked = await tokens.revoke(which)
        // What was asked for is not repeated: it may be the token itself.
        if (revoked === undefined) throw refused('there is no such token, or it is revoked already', list)
        note('token.revoked', revoked.name, caller)
        end(revoked.id)
        return { id: revoked.id, name: revoked.name, revokedAtMs: revoked.revokedAtMs }
      }
    })
  ]

  function note(kind: EventKind, detail: string, caller: Caller): void {
    trail.record({ kind, outcome: 'changed', detail, ...causedBy(caller) })
  }

  // After the answer is on its way: the caller may have come with this very token.
  function end(id: string): void {
    setImmediate(() => hub.closeWhere(({ caller }) => caller?.token?.id === id, 'policy', 'token revoked'))
  }
}

const list = 'openclaw tokens list'

const refusals = {
  'name-taken': refused(
    'a live token has this name already; take another name, or revoke that one',
    'openclaw tokens revoke NAME'
  ),
  'too-many': refused('there are 500 live tokens already; revoke one that is not used', list)
}

function refused(message: string, command: string): RpcError {
  return invalidRequest(message, { fix: { command, where: 'gateway host' } })
}

// Letters, digits, marks and spaces between them: nothing that hides, moves text about or ends a line. A name cannot
// look like an id, so that both can name a token, nor like a token, so that none is kept by mistake.
function checkName(name: string): void {
  const printable = /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u.test(name) && name === name.trim()
  if (printable && !uuid.test(name) && !name.startsWith(TOKEN_PREFIX)) return
  throw invalidRequest(
    `invalid gateway.tokens.create params: at /name: must be 1 to 64 printable characters, no id and no token`
  )
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

function checkCidrs(cidrs: readonly string[]): void {
  const compiled = compileCidrs(cidrs)
  if ('has' in compiled) return
  throw invalidRequest(
    `invalid gateway.tokens.create params: at /cidrs: must be addresses or networks such as 10.0.0.0/8, not ${JSON.stringify(compiled.invalid)}`
  )
}

function expiry({ expiresInMs, expiresAtMs }: { expiresInMs?: number; expiresAtMs?: number }): number | undefined {
  if (expiresInMs !== undefined && expiresAtMs !== undefined) {
    throw invalidRequest('invalid gateway.tokens.create params: give either expiresInMs or expiresAtMs')
  }
  const now = Date.now()
  const at = expiresInMs === undefined ? expiresAtMs : now + expiresInMs
  if (at !== undefined && (at <= now || at > now + LONGEST_MS)) {
    throw invalidRequest('invalid gateway.tokens.create params: a token expires in the future, within ten years')
  }
  return at
}
