import { Type } from 'typebox'
import { tailLog } from '../log-tail.ts'
import { defineMethod, type Method } from '../method.ts'

/** `logs.tail`: the gateway's own log, from a cursor on. */
export function logMethods({ file }: { file: string }): Method[] {
  return [
    defineMethod({
      name: 'logs.tail',
      scope: 'operator.read',
      params: Type.Object(
        {
          cursor: Type.Optional(Type.Integer({ minimum: 0 })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000 })),
          maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 }))
        },
        { additionalProperties: false }
      ),
      handler: (params) => tailLog(file, params)
    })
  ]
}
