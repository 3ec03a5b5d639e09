import { Type } from 'typebox'
import { defineMethod, type Method } from '../method.ts'
import type { Stability } from '../stability.ts'

/** `diagnostics.stability`: what happened to the process lately. */
export function diagnosticMethods({ stability }: { stability: Stability }): Method[] {
  return [
    defineMethod({
      name: 'diagnostics.stability',
      scope: 'operator.read',
      params: Type.Object(
        {
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
          type: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
          sinceSeq: Type.Optional(Type.Integer({ minimum: 0 }))
        },
        { additionalProperties: false }
      ),
      handler: (params) => stability.snapshot(params)
    })
  ]
}
