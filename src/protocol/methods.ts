import { type Static, type TSchema, Type } from 'typebox'

const text = Type.String()
const count = Type.Number()
const none = Type.Object({}, { additionalProperties: false })
const flag = Type.Optional(Type.Boolean())

const Presence = Type.Object({
  ts: count,
  host: Type.Optional(text),
  ip: Type.Optional(text),
  version: Type.Optional(text),
  platform: Type.Optional(text),
  deviceFamily: Type.Optional(text),
  mode: Type.Optional(text),
  reason: Type.Optional(text),
  text: Type.Optional(text),
  instanceId: Type.Optional(text),
  deviceId: Type.Optional(text),
  roles: Type.Optional(Type.Array(text)),
  scopes: Type.Optional(Type.Array(text))
})

/**
 * What the calls that most programs make take and answer; the types of `GatewayClient.request` are inferred from it. An
 * answer may hold more than is named here. Every other method is called with types of the caller's own.
 */
export const METHODS = {
  health: {
    params: Type.Object({ probe: flag }),
    result: Type.Object({
      ok: Type.Boolean(),
      ts: count,
      durationMs: count,
      channels: Type.Record(text, Type.Unknown()),
      channelOrder: Type.Array(text),
      heartbeatSeconds: count,
      defaultAgentId: text,
      eventLoop: Type.Optional(Type.Object({ degraded: Type.Boolean(), delayP99Ms: count, utilization: count }))
    })
  },
  status: {
    params: none,
    result: Type.Object({
      runtimeVersion: text,
      uptimeMs: Type.Optional(count),
      gateway: Type.Optional(
        Type.Object({ mode: text, bind: text, port: count, authMode: text, listeners: Type.Array(text) })
      ),
      memory: Type.Optional(Type.Object({ rssBytes: count, heapUsedBytes: count })),
      connections: Type.Optional(Type.Object({ total: count, operators: count, nodes: count })),
      warnings: Type.Optional(Type.Array(text)),
      channelSummary: Type.Array(Type.Unknown())
    })
  },
  'system-presence': { params: none, result: Type.Array(Presence) },
  'gateway.identity.get': { params: none, result: Type.Object({ deviceId: text, publicKey: text }) },
  'logs.tail': {
    params: Type.Object(
      {
        cursor: Type.Optional(Type.Integer({ minimum: 0 })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000 })),
        maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 }))
      },
      { additionalProperties: false }
    ),
    result: Type.Object({
      file: text,
      cursor: count,
      size: count,
      lines: Type.Array(text),
      truncated: flag,
      reset: flag
    })
  }
} as const satisfies Record<string, { params: TSchema; result: TSchema }>

/** The methods whose types are known. */
export type MethodName = keyof typeof METHODS
/** What a method takes. */
export type MethodParams<M extends MethodName> = Static<(typeof METHODS)[M]['params']>
/** What a method answers. */
export type MethodResult<M extends MethodName> = Static<(typeof METHODS)[M]['result']>
