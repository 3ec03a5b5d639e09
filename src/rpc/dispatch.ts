import { invalidRequest, missingScope, RpcError } from '../protocol/errors.ts'
import type { ErrorShape, RequestFrame } from '../protocol/frames.ts'
import { type Scope, satisfies } from '../protocol/scopes.ts'
import { type Caller, type Interim, worksOverHttp } from './method.ts'
import type { RegisteredMethod, Registry } from './registry.ts'

/** Finds the method a caller may call, or says why not. Scope comes before params: a stranger learns nothing of them. */
export function resolveMethod(registry: Registry, name: string, caller: Caller): RegisteredMethod {
  const method = registry.get(name)
  const overHttp = caller.surface !== 'websocket'
  if (overHttp && (name === 'connect' || (method !== undefined && !worksOverHttp(method)))) throw needsSocket(name)
  if (name === 'connect') throw invalidRequest('connect is only valid as the first request')
  if (method?.scope === 'any') return method
  if (caller.role === 'node') {
    if (method?.scope === 'node') return method
    throw invalidRequest('unauthorized role: node')
  }
  if (method === undefined) {
    // An unknown method is treated as the most powerful one, so that its absence is told to admins only.
    requireScope(caller, 'operator.admin')
    throw invalidRequest(`unknown method: ${name.slice(0, 128)}`)
  }
  if (method.scope === 'node') throw invalidRequest('unauthorized role: operator')
  requireScope(caller, method.scope)
  return method
}

function needsSocket(method: string): RpcError {
  return invalidRequest(`${method} needs a WebSocket: it is about the connection itself`, {
    code: 'WEBSOCKET_REQUIRED',
    method
  })
}

/** Throws unless the caller holds a scope. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (satisfies(caller.scopes, scope)) return
  throw missingScope(scope)
}

/** Runs one call. Returns the result, or a promise of it when the handler is asynchronous. */
export function call(
  registry: Registry,
  frame: Pick<RequestFrame, 'method' | 'params'>,
  caller: Caller,
  interim?: Interim
): unknown {
  return run(registry, resolveMethod(registry, frame.method, caller), frame.params, caller, interim)
}

/** Runs a method that the caller may call. */
export function run(
  registry: Registry,
  method: RegisteredMethod,
  given: unknown,
  caller: Caller,
  interim?: Interim
): unknown {
  const params = given ?? {}
  const wrong = method.check?.(params)
  if (wrong !== undefined) throw invalidRequest(`invalid ${method.name} params: ${wrong}`)
  if (method.write) registry.writes.take(method.name, caller)
  return method.handler(params as never, caller, interim)
}

/** What goes out for a thrown error: our own errors as they are, nothing of the inside of any other. */
export function errorShape(error: unknown): ErrorShape {
  if (error instanceof RpcError) return error.toShape()
  return { code: 'UNAVAILABLE', message: 'internal error', retryable: false }
}
