import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { controlUi } from '../support/client.ts'

type Json = Record<string, unknown>

/** The clients that the tests beside these do not know. */
export const macos = { id: 'openclaw-macos', version: '1.0.0', platform: 'darwin', mode: 'ui' } as const
export const backend = { id: 'gateway-client', version: '1.0.0', platform: 'linux', mode: 'backend' } as const
export const webchat = { ...controlUi, id: 'webchat-ui' } as const

/** What an honest proxy says of a client. */
export const from = { 'x-forwarded-for': '203.0.113.7' }
/** A page of a gateway in a private network. */
export const page = { host: '192.168.1.9', origin: 'http://192.168.1.9' }

/** An API call that needs `operator.read`: each gateway has another. */
export const api = { ours: '/metrics', reference: '/v1/models' }
/** What the reference must be told to have its own. */
export const withApi = { http: { endpoints: { chatCompletions: { enabled: true } } } }

/** Headers with the gateway's secret as a bearer. */
export const bearer =
  (more: Record<string, string> = {}) =>
  ({ token }: GatewayProcess) => ({ ...more, authorization: `Bearer ${token}` })
/** What `connect` sends, with the gateway's secret as its token. */
export const withToken =
  (params: Json = {}) =>
  ({ token }: GatewayProcess) => ({ ...params, auth: { token } })

/** Scopes in the order in which they are compared. */
export const read = ['operator.read']
export const admin = ['operator.admin']
export const both = ['operator.admin', 'operator.read']
export const all = ['operator.admin', 'operator.read', 'operator.write']
