import { type Plan, planDigest } from '../approvals/plan.ts'

const MOST = 512

/**
 * The environments that runs were prepared with. A plan that travels through an approval does not carry one, so this
 * node remembers it; what it does not remember was prepared with none.
 */
export class PreparedRuns {
  readonly #environments = new Map<string, Set<string>>()

  /** Remembers a run as it was prepared. */
  add(plan: Pick<Plan, 'argv' | 'cwd' | 'env'>): void {
    const key = planDigest({ argv: plan.argv, cwd: plan.cwd })
    const known = this.#environments.get(key) ?? new Set()
    known.add(planDigest(plan))
    // The newest last: the oldest go first.
    this.#environments.delete(key)
    this.#environments.set(key, known)
    const [oldest] = this.#environments.keys()
    if (this.#environments.size > MOST && oldest !== undefined) this.#environments.delete(oldest)
  }

  /** Reports whether a run has an environment that it was prepared with. */
  isSameEnvironment(plan: Pick<Plan, 'argv' | 'cwd' | 'env'>): boolean {
    if (Object.keys(plan.env ?? {}).length === 0) return true
    return this.#environments.get(planDigest({ argv: plan.argv, cwd: plan.cwd }))?.has(planDigest(plan)) === true
  }
}
