import { Type } from 'typebox'
import { type Plan, planDigest } from '../../approvals/plan.ts'
import { exactRule } from '../../approvals/rules.ts'
import { bindFile } from '../bound-file.ts'
import { CommandError, defineCommand } from '../command.ts'
import { commandText } from '../command-text.ts'
import type { ExecPolicy } from '../exec-policy.ts'
import type { PreparedRuns } from '../prepared-runs.ts'
import type { RunPlan } from '../run-plan.ts'
import { type RunPlaces, runFields, runRequest } from './run-request.ts'

const nullableText = Type.Optional(Type.Union([Type.String(), Type.Null()]))

/** `system.run.prepare`: says what a run would be, for a person to approve exactly that. */
export function systemRunPrepare(deps: { places: RunPlaces; policy: ExecPolicy; prepared: PreparedRuns }) {
  return defineCommand({
    name: 'system.run.prepare',
    cap: 'system',
    params: Type.Object({ ...runFields, security: nullableText, ask: nullableText }),
    run: async (params) => {
      const { places, policy, prepared } = deps
      const agentId = params.agentId ?? undefined
      const policySnapshot = await policy.snapshot(agentId)
      const { security, ask } = policySnapshot
      // Where neither side would ever ask, nothing is approved, and so nothing need be bound.
      const unasked =
        [security, params.security].every((each) => each === 'full') &&
        [ask, params.ask].every((each) => each === 'off')
      const { plan, preview } = runRequest(params, places, unasked ? 'any-harmless' : 'allowed-names')
      const bound = unasked ? undefined : await bind(plan)
      const argv = bound?.argv ?? [...plan.argv]
      const canonical = { argv, cwd: plan.cwd, env: plan.env }
      prepared.add(canonical)
      const answer: RunPlan = {
        argv,
        cwd: plan.cwd,
        commandText: commandText(argv),
        commandPreview: preview ?? null,
        agentId: agentId ?? null,
        sessionKey: params.sessionKey ?? null,
        ...(bound?.file === undefined ? {} : { mutableFileOperand: bound.file }),
        policySnapshot
      }
      return {
        plan: answer,
        execPolicy: { security, ask },
        // Of a file that may change, only what is in it now can be allowed.
        allowAlwaysCoverage:
          bound?.file === undefined ? coverageOf({ ...plan, argv }) : { complete: false, patterns: [] }
      }
    }
  })
}

// What "allow always" would add: the rule for this very command.
function coverageOf(plan: Plan) {
  const { resolvedPath } = plan
  if (resolvedPath === undefined) return { complete: false, patterns: [] }
  const { pattern, argPattern } = exactRule(resolvedPath, planDigest(plan), 0)
  return { complete: true, patterns: [{ pattern, argPattern }] }
}

// A bare name could lead elsewhere by the time it runs: what is approved is the file it leads to now.
async function bind(plan: ReturnType<typeof runRequest>['plan']) {
  const binding = await bindFile(plan.argv, plan.cwd, plan.lookup)
  if ('unbindable' in binding) throw new CommandError('INVALID_REQUEST', `SYSTEM_RUN_DENIED: ${binding.unbindable}`)
  return { argv: [plan.resolvedPath!, ...plan.argv.slice(1)], file: binding.file }
}
