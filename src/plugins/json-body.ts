import createError from '@fastify/error'
import type { FastifyInstance, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import fp from 'fastify-plugin'
import { type JsonFault, jsonFault } from '../protocol/json-fault.ts'

const InvalidJson = createError('INVALID_JSON', '%s', 400)
const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Bodies are JSON and nothing else (415); one that is broken is told where, and none of it is repeated. */
async function jsonBody(app: FastifyInstance): Promise<void> {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    // What an empty body comes to is the route's affair.
    if (body === '') return done(null, undefined)
    parse(request, body, (error, value) => (error === null ? done(null, value) : done(invalid(jsonFault(body)))))
  })
  app.addHook('onRoute', (route) => {
    if ([route.method].flat().every((each) => BODYLESS.has(each))) return
    route.onRequest = [...[route.onRequest ?? []].flat(), assumeJson]
  })
}

// Programs that do not say what they send send JSON, as to the reference.
function assumeJson({ raw }: FastifyRequest, _reply: unknown, done: HookHandlerDoneFunction): void {
  raw.headers['content-type'] ??= 'application/json'
  done()
}

function invalid(fault: JsonFault | undefined): Error {
  // JSON, then, with a key that would reach into every object.
  if (fault === undefined) return new InvalidJson('the body must not have a key "__proto__" or "constructor.prototype"')
  const { position, line, column, end } = fault
  const what = end ? 'Unexpected end of JSON input' : 'Unexpected token in JSON'
  return new InvalidJson(`${what} at position ${position} (line ${line} column ${column})`)
}

export default fp(jsonBody, { name: 'json-body', dependencies: ['errors'], fastify: '5.x' })
