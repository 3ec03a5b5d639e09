import type { FastifyServerOptions } from 'fastify'
import type { TSchema } from 'typebox'
import { checker } from '../protocol/validate.ts'

const PARTS: Readonly<Record<string, string>> = { querystring: 'query', params: 'path' }

/**
 * How routes' schemas are used: what comes in is checked as params of methods are, compiled by the first request that
 * needs it; what goes out is written as it is. Fastify's own would load Ajv at the start: 7 MB, for a schema or two.
 */
export const schemaController = {
  compilersFactory: { buildValidator: () => validator as never, buildSerializer: () => () => JSON.stringify }
} satisfies FastifyServerOptions['schemaController']

function validator({ schema, httpPart = 'body' }: { schema: TSchema; httpPart?: string }) {
  const check = checker(schema)
  return (value: unknown) => {
    const wrong = check(value)
    return wrong === undefined || { error: new Error(`invalid ${PARTS[httpPart] ?? httpPart}: ${wrong}`) }
  }
}
