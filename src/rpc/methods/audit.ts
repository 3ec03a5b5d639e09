import { Type } from 'typebox'
import { EVENT_KINDS, EVENT_OUTCOMES } from '../../protocol/audit.ts'
import type { Trail } from '../../store/trail.ts'
import { defineMethod, type Method } from '../method.ts'

const DEFAULT_EVENTS = 100
const MAX_EVENTS = 500

const id = Type.Integer({ minimum: 1 })
const text = Type.String({ minLength: 1, maxLength: 256 })

/** The audit trail from the operator's side: who came in, who did not, and who changed that. Ours, not the reference's. */
export function auditMethods({ trail }: { trail: Trail }): Method[] {
  return [
    defineMethod({
      name: 'gateway.audit.list',
      scope: 'operator.admin',
      params: Type.Object(
        {
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_EVENTS })),
          before: Type.Optional(id),
          after: Type.Optional(Type.Integer({ minimum: 0 })),
          outcome: Type.Optional(Type.Enum([...EVENT_OUTCOMES])),
          kind: Type.Optional(Type.Enum([...EVENT_KINDS])),
          who: Type.Optional(text),
          address: Type.Optional(text)
        },
        { additionalProperties: false }
      ),
      handler: (query) => trail.list({ ...query, limit: query.limit ?? DEFAULT_EVENTS })
    })
  ]
}
