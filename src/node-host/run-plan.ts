import { isDeepStrictEqual } from 'node:util'
import { type Static, Type } from 'typebox'

const nullable = Type.Union([Type.String(), Type.Null()])

/** A run as it was prepared: what a person approves, and what then has to be run. */
export const RunPlan = Type.Object({
  argv: Type.Array(Type.String(), { minItems: 1, maxItems: 4_096 }),
  cwd: nullable,
  commandText: Type.String(),
  commandPreview: Type.Optional(nullable),
  agentId: nullable,
  sessionKey: nullable,
  policySnapshot: Type.Optional(
    Type.Object({
      security: Type.String(),
      ask: Type.String(),
      askFallback: Type.String(),
      autoAllowSkills: Type.Boolean(),
      allowlistRules: Type.Array(Type.Object({ pattern: Type.String() }))
    })
  ),
  mutableFileOperand: Type.Optional(
    Type.Union([
      Type.Object({ argvIndex: Type.Integer({ minimum: 0 }), path: Type.String(), sha256: Type.String() }),
      Type.Null()
    ])
  )
})
export type RunPlan = Static<typeof RunPlan>

/** What of a run its plan decides. */
export interface Planned {
  command: readonly string[]
  cwd?: string | undefined
  rawCommand?: string | undefined
  agentId?: string | undefined
  sessionKey?: string | undefined
}

/** Reports whether a run is the one that was planned: every argument, the folder, and for whom. */
export function isPlanned(run: Planned, plan: RunPlan): boolean {
  return (
    isDeepStrictEqual(run.command, plan.argv) &&
    (run.cwd ?? null) === plan.cwd &&
    (run.agentId ?? null) === plan.agentId &&
    (run.sessionKey ?? null) === plan.sessionKey &&
    [undefined, plan.commandText, plan.commandPreview].includes(run.rawCommand)
  )
}
