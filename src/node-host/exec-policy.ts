import { allowAlways, noteUse, readApprovals } from '../approvals/file.ts'
import { type Plan, planDigest } from '../approvals/plan.ts'
import { type Evaluation, evaluate, rulesOf, settingsOf } from '../approvals/policy.ts'
import type { Approvals } from '../approvals/schema.ts'
import { CommandError } from './command.ts'
import type { RunPlan } from './run-plan.ts'

export type PolicySnapshot = NonNullable<RunPlan['policySnapshot']>

/** What this node allows, as its owner's document says it at the moment it is asked. */
export class ExecPolicy {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** Decides about a command. A document that cannot be relied on allows nothing. */
  async decide(plan: Plan): Promise<Evaluation> {
    return evaluate(await this.#read(), plan)
  }

  /** The settings and rules that hold for an agent now, as a prepared run carries them. */
  async snapshot(agentId: string | undefined): Promise<PolicySnapshot> {
    const approvals = await this.#read()
    const rules = rulesOf(approvals, agentId).map(({ pattern, argPattern, source }) => ({
      pattern,
      ...(argPattern === undefined ? {} : { argPattern }),
      ...(source === undefined ? {} : { source })
    }))
    return { ...settingsOf(approvals, agentId), allowlistRules: rules }
  }

  /** Notes the rules that allowed a command. */
  async used(evaluation: Evaluation, plan: Plan): Promise<void> {
    await noteUse(this.#path, evaluation.rules, plan)
  }

  /** Allows a command, as it is, from now on. */
  async allowFromNowOn(plan: Plan): Promise<void> {
    const { resolvedPath, agentId } = plan
    if (resolvedPath === undefined) return
    const whose = agentId === undefined ? {} : { agentId }
    await allowAlways(this.#path, { digest: planDigest(plan), resolvedPath, ...whose })
  }

  async #read(): Promise<Approvals> {
    try {
      return await readApprovals(this.#path)
    } catch (cause) {
      throw new CommandError('SYSTEM_RUN_DENIED', `SYSTEM_RUN_DENIED: ${(cause as Error).message}`, cause)
    }
  }
}
