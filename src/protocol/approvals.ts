import { type Static, Type } from 'typebox'

/** What a person may say to a request: yes this once, yes from now on, or no. */
export const DECISIONS = ['allow-once', 'allow-always', 'deny'] as const

/** One answer of a person to a request. */
export type Decision = (typeof DECISIONS)[number]

const closed = { additionalProperties: false } as const
const filled = Type.String({ minLength: 1 })
const label = Type.String({ minLength: 1, maxLength: 128 })
const nullable = <T extends Parameters<typeof Type.Optional>[0]>(type: T) =>
  Type.Optional(Type.Union([type, Type.Null()]))
const text = nullable(Type.String())
const level = Type.Enum(['deny', 'allowlist', 'full'])

/** How far what is asked for would reach, in the words of whoever asks. Shown, and never an authority. */
const Scope = Type.Union([
  Type.Object(
    {
      kind: Type.Literal('message-send'),
      target: label,
      recipientCount: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
      recipients: Type.Optional(Type.Array(label, { maxItems: 5 })),
      audience: Type.Optional(Type.Enum(['internal', 'external']))
    },
    closed
  ),
  Type.Object(
    {
      kind: Type.Literal('payment'),
      amount: Type.String({ minLength: 1, maxLength: 40 }),
      currency: Type.String({ minLength: 1, maxLength: 12 }),
      target: label
    },
    closed
  ),
  Type.Object(
    { kind: Type.Literal('external-post'), target: label, visibility: Type.Enum(['public', 'restricted']) },
    closed
  ),
  Type.Object(
    {
      kind: Type.Literal('standing-grant'),
      automation: label,
      command: Type.String({ minLength: 1, maxLength: 256 }),
      expiresInDays: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_650 }))
    },
    closed
  )
])

/** A command as a node prepared it: what is approved, and what is then forwarded to run. */
const SystemRunPlan = Type.Object(
  {
    argv: Type.Array(Type.String(), { minItems: 1 }),
    cwd: Type.Union([Type.String(), Type.Null()]),
    commandText: Type.String(),
    commandPreview: text,
    agentId: Type.Union([Type.String(), Type.Null()]),
    sessionKey: Type.Union([Type.String(), Type.Null()]),
    policySnapshot: Type.Optional(
      Type.Object(
        {
          security: level,
          ask: Type.Enum(['off', 'on-miss', 'always']),
          askFallback: level,
          autoAllowSkills: Type.Boolean(),
          allowlistRules: Type.Array(
            Type.Object(
              {
                pattern: Type.String(),
                argPattern: Type.Optional(Type.String()),
                source: Type.Optional(Type.Literal('allow-always'))
              },
              closed
            )
          )
        },
        closed
      )
    ),
    mutableFileOperand: nullable(
      Type.Object({ argvIndex: Type.Integer({ minimum: 0 }), path: Type.String(), sha256: Type.String() }, closed)
    )
  },
  closed
)
export type SystemRunPlan = Static<typeof SystemRunPlan>

/** Asks for a person's decision about a command. */
export const ExecApprovalRequestParams = Type.Object(
  {
    id: Type.Optional(filled),
    command: Type.Optional(filled),
    commandArgv: Type.Optional(Type.Array(Type.String())),
    systemRunPlan: Type.Optional(SystemRunPlan),
    env: Type.Optional(Type.Record(Type.String(), Type.String())),
    cwd: text,
    nodeId: nullable(filled),
    host: text,
    security: text,
    ask: text,
    warningText: text,
    scope: Type.Optional(Scope),
    unavailableDecisions: Type.Optional(Type.Array(Type.Enum(['allow-always']), { minItems: 1, maxItems: 1 })),
    commandSpans: Type.Optional(
      Type.Array(
        Type.Object({ startIndex: Type.Integer({ minimum: 0 }), endIndex: Type.Integer({ minimum: 1 }) }, closed)
      )
    ),
    agentId: text,
    resolvedPath: text,
    sessionKey: text,
    sessionId: text,
    runId: text,
    toolCallId: text,
    turnSourceChannel: text,
    turnSourceTo: text,
    turnSourceAccountId: text,
    turnSourceThreadId: nullable(Type.Union([Type.String(), Type.Number()])),
    approvalReviewerDeviceIds: Type.Optional(Type.Array(filled)),
    requireDeliveryRoute: Type.Optional(Type.Boolean()),
    suppressDelivery: Type.Optional(Type.Boolean()),
    deliverToApprovalClientsOnly: Type.Optional(Type.Boolean()),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 1 })),
    twoPhase: Type.Optional(Type.Boolean())
  },
  closed
)
export type ExecApprovalRequestParams = Static<typeof ExecApprovalRequestParams>

/** A request as it is kept and shown: everything that binds the command, and of its environment the names alone. */
export interface ExecRequest {
  command: string
  commandArgv?: string[]
  envKeys?: string[]
  systemRunBinding: {
    argv: string[]
    cwd: string | null
    agentId: string | null
    sessionKey: string | null
    envHash: string | null
  } | null
  systemRunPlan: SystemRunPlan | null
  cwd: string | null
  nodeId: string | null
  host: string | null
  security: string | null
  ask: string | null
  warningText: string | null
  scope: Static<typeof Scope> | null
  unavailableDecisions?: 'allow-always'[]
  allowedDecisions: Decision[]
  agentId: string | null
  resolvedPath: string | null
  sessionKey: string | null
  sessionId: string | null
  runId: string | null
  toolCallId: string | null
  turnSourceChannel: string | null
  turnSourceTo: string | null
  turnSourceAccountId: string | null
  turnSourceThreadId: string | number | null
}

/** How a request ended. */
export type ApprovalOutcome =
  | { status: 'allowed'; decision: 'allow-once' | 'allow-always'; reason: 'user' }
  | { status: 'denied'; decision: 'deny'; reason: 'user' | 'no-route' }
  | { status: 'expired'; decision: undefined; reason: 'timeout' }
