import auth from '@fastify/auth'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Authenticated, Authenticator, type AuthFailure } from '../auth/authenticate.ts'
import { checkOrigin, type OriginVerdict } from '../auth/origin.ts'
import { scopesOf } from '../auth/scopes.ts'
import { isOpen } from '../auth/surfaces.ts'
import { missingScope } from '../protocol/errors.ts'
import { type Scope, satisfies } from '../protocol/scopes.ts'
import type { Attempt } from './audit.ts'
import { refusal } from './errors.ts'
import { recognise } from './ingress.ts'

/** Authenticates every route of an authenticated surface, with the same function that the WebSocket uses. */
async function authentication(app: FastifyInstance): Promise<void> {
  app.decorate('authenticator', new Authenticator(() => app.live.access, app.credentials, app.witness))
  app.decorateRequest('auth')
  await app.register(auth, { defaultRelation: 'and' })

  app.addHook('onRoute', (route) => {
    const { surface, scope } = route.config ?? {}
    if (surface === undefined || isOpen(surface) || surface === 'websocket') return
    const checks = [checkPage, authenticate]
    if (scope !== undefined && scope !== 'any') checks.push(async (request) => requireScope(request, scope))
    route.onRequest = [app.auth(checks, { relation: 'and' }), ...[route.onRequest ?? []].flat()]
  })

  // A page we do not know is refused before any credential is looked at (S2, S23).
  async function checkPage(request: FastifyRequest): Promise<void> {
    if (pageOf(request).ok) return
    app.audit.denied({ ...attempt(request), kind: 'origin' }, 'origin_not_allowed')
    throw refusal('origin_not_allowed')
  }

  function pageOf({ headers, ingress }: FastifyRequest): OriginVerdict {
    if (headers['sec-fetch-site'] === 'cross-site') return { ok: false, reason: 'origin not allowed' }
    const { origin } = headers
    return checkOrigin({ origin, host: ingress.host, ingress, required: false, allowed: app.live.access.origins })
  }

  async function authenticate(request: FastifyRequest): Promise<void> {
    const result = await app.authenticate(request)
    if (result.ok) {
      request.auth = result
      recognise(request.raw.socket)
      const { method, user, token, device } = result
      app.audit.allowed({ ...attempt(request), method, who: user?.id ?? token?.name ?? device?.deviceId ?? method })
      return
    }
    const { reason, detail = reason } = result
    app.audit.denied(attempt(request), reason === 'unauthorized' ? detail : reason, result)
    if (reason === 'rate_limited') throw refusal('rate_limited', { retryAfterMs: result.retryAfterMs ?? 0 })
    throw refusal('unauthorized', { authenticate: challenge(request, result) })
  }

  app.decorate('authenticate', async (request: FastifyRequest) => {
    const { surface } = request.routeOptions.config
    const token = bearer(request)
    const page = pageOf(request)
    if (!page.ok) return { ok: false, reason: 'unauthorized' } as const
    const { origin } = page
    const lockedForMs = app.authenticator.lockedForMs(request.ingress, origin)
    if (lockedForMs > 0) return { ok: false, reason: 'rate_limited', retryAfterMs: lockedForMs } as const
    return app.authenticator.authenticate({
      // A probe that was given credentials shows its details to whoever may use the HTTP API.
      surface: surface === undefined || isOpen(surface) ? 'http-api' : surface,
      ingress: request.ingress,
      origin,
      // One field for whatever the mode calls its secret.
      presented: { token, password: token },
      deviceId: undefined,
      role: 'operator'
    })
  })
}

function attempt({ ingress, routeOptions }: FastifyRequest): Attempt {
  return { kind: 'http', address: ingress.client, listener: ingress.listener, surface: routeOptions.config.surface }
}

function bearer(request: FastifyRequest): string | undefined {
  return /^bearer +(.*\S) *$/i.exec(request.headers.authorization ?? '')?.[1]
}

/** The `WWW-Authenticate` of RFC 6750; whoever holds a token that is no longer good is told so. */
function challenge(request: FastifyRequest, { reason }: AuthFailure): string {
  const realm = 'Bearer realm="openclaw"'
  if (bearer(request) === undefined) return realm
  const said =
    reason === 'token_expired' ? 'the token expired' : reason === 'token_revoked' ? 'the token was revoked' : ''
  return `${realm}, error="invalid_token"${said === '' ? '' : `, error_description="${said}"`}`
}

function requireScope({ auth }: FastifyRequest, scope: Scope): void {
  if (!satisfies(scopesOf(auth), scope)) throw missingScope(scope)
}

declare module 'fastify' {
  interface FastifyInstance {
    authenticator: Authenticator
    /** Authenticates a request's bearer credentials without refusing it. */
    authenticate(request: FastifyRequest): ReturnType<Authenticator['authenticate']>
  }
  interface FastifyRequest {
    /** Who is calling, on authenticated surfaces. */
    auth: Authenticated
  }
}

export default fp(authentication, {
  name: 'authentication',
  dependencies: ['errors', 'audit', 'ingress', 'surfaces'],
  fastify: '5.x'
})
