import swagger from '@fastify/swagger'
import fastify, { type FastifySchema } from 'fastify'
import { isOpen } from '../auth/surfaces.ts'
import type { CataloguedRoute } from '../plugins/catalogue.ts'
import { schemaController } from '../plugins/compilers.ts'
import { ErrorBody, RefusedCall } from '../plugins/errors.ts'

const tags = [
  { name: 'probe', description: 'Whether the gateway lives. No credential; details for those who bring one.' },
  { name: 'http-api', description: 'For programs: a bearer, and the scope that each operation names.' },
  { name: 'control-ui', description: "What the Control UI's page asks for. Takes a device token as well." }
]

const description = `One OpenClaw Gateway. Errors name what is wrong, and where there is one the command that mends it.

A bearer is the shared secret (\`gateway.auth.token\` or \`.password\`), or a named token: \`openclaw tokens create\`.
Nothing is read from a query. Behind an identity-aware proxy, and without auth on the gateway's own host, no bearer is
needed; \`x-openclaw-scopes\` narrows such a caller. Clients that can keep a WebSocket open speak protocol version 4
there, on any path.`

/**
 * Describes routes as an OpenAPI 3.1 document. The plugin that knows how wants to see routes being added: it sees them
 * in an app of its own, which never listens. Loaded by the first request for the document.
 */
export async function openApiDocument(routes: readonly CataloguedRoute[], version: string): Promise<object> {
  const app = fastify({ schemaController, exposeHeadRoutes: false })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'OpenClaw Gateway', version, description },
      tags,
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'The shared secret, or a named token' }
        }
      }
    },
    refResolver: { buildLocalReference: (schema) => String(schema.$id) }
  })
  app.addSchema({ $id: 'Error', ...ErrorBody })
  app.addSchema({ $id: 'RefusedCall', ...RefusedCall })
  for (const route of routes) {
    const { url, methods, config } = route
    app.route({ url, method: [...methods], config, schema: described(route), handler: () => undefined })
  }
  await app.ready()
  const document = app.swagger()
  await app.close()
  return document
}

function described({ schema, config }: CataloguedRoute): FastifySchema & Record<string, unknown> {
  const { surface, scope } = config
  const authenticated = surface !== undefined && !isOpen(surface)
  return {
    ...schema,
    tags: surface === undefined ? [] : [surface],
    security: authenticated ? [{ bearer: [] }] : [],
    ...(scope === undefined ? {} : { 'x-openclaw-scope': scope }),
    response: {
      ...answers(authenticated, schema.body !== undefined),
      ...(schema.response as object | undefined)
    }
  }
}

const error = (description: string, headers?: Record<string, { type: string; description: string }>) => ({
  $ref: 'Error#',
  description,
  ...(headers === undefined ? {} : { headers })
})

// What every route of a kind may answer. What a route says of itself wins.
function answers(authenticated: boolean, body: boolean): Record<number, object> {
  return {
    403: error('The caller cannot be made out behind a proxy that is not in `gateway.trustedProxies`'),
    421: error('The gateway does not answer to this host name'),
    ...(authenticated && {
      401: error('No credential that this gateway takes', {
        'www-authenticate': { type: 'string', description: 'How to authenticate (RFC 6750)' }
      }),
      403: {
        description: 'A scope is missing, a foreign page asks, or the caller cannot be made out behind a proxy',
        anyOf: [{ $ref: 'RefusedCall#' }, { $ref: 'Error#' }]
      },
      429: error('Too many failed attempts, or too much at once', {
        'retry-after': { type: 'integer', description: 'Seconds' }
      })
    }),
    ...(body && {
      400: error('The body is no JSON; the message names the place'),
      413: error('The body is too large'),
      415: error('The body is not `application/json`')
    }),
    500: error('Something broke inside; the log says what')
  }
}
