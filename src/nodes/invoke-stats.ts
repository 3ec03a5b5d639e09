import { OUTCOMES, type Outcome } from './invocation.ts'

/** Upper bounds of the classes of latency, in seconds. */
export const LATENCY_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const

/** How invocations ended and how long those took that a node answered; two numbers a time, so that counting costs nothing. */
export class InvokeStats {
  readonly outcomes: Record<Outcome, number> = Object.fromEntries(OUTCOMES.map((name) => [name, 0])) as never
  /** How many were in each class; the last one is for those above every bound. */
  readonly classes = new Array<number>(LATENCY_BOUNDS.length + 1).fill(0)
  seconds = 0

  ended(outcome: Outcome, ms: number): void {
    this.outcomes[outcome]++
    if (outcome !== 'ok' && outcome !== 'failed') return
    const seconds = ms / 1000
    this.seconds += seconds
    let at = 0
    while (at < LATENCY_BOUNDS.length && seconds > LATENCY_BOUNDS[at]!) at++
    this.classes[at]!++
  }
}
