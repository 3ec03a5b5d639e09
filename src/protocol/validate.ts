import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'

/** Checks a value against a schema; returns what is wrong in the protocol's words, or nothing. */
export type Check = (value: unknown) => string | undefined

/** A checker for a schema, compiled on first use: most methods of a gateway are never called. */
export function checker(schema: TSchema): Check {
  let compiled: ReturnType<typeof Compile> | undefined
  return (value) => {
    compiled ??= Compile(schema)
    return compiled.Check(value) ? undefined : describe(compiled.Errors(value) as SchemaError[])
  }
}

interface SchemaError {
  keyword: string
  instancePath: string
  message: string
  params: { requiredProperties?: string[]; additionalProperties?: string[] }
}

const MAX_ERRORS = 8

function describe(errors: SchemaError[]): string {
  const lines = errors.filter(({ keyword }) => keyword !== 'boolean').slice(0, MAX_ERRORS)
  return lines
    .map(({ keyword, instancePath, message, params }) => {
      const at = instancePath.slice(0, 200)
      if (keyword === 'additionalProperties') {
        return `at ${at || 'root'}: unexpected property '${params.additionalProperties?.[0]?.slice(0, 64)}'`
      }
      const text = keyword === 'required' ? `must have required property '${params.requiredProperties?.[0]}'` : message
      return at === '' ? text : `at ${at}: ${text}`
    })
    .join('; ')
}
