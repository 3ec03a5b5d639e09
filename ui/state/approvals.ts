import { Listing } from './listing.ts'
import type { Session } from './session.ts'

/** What a person may say to a request. */
export type Decision = 'allow-once' | 'allow-always' | 'deny'

/** A command that waits for a person. */
export interface PendingApproval {
  id: string
  request: {
    command: string
    cwd?: string | null
    host?: string | null
    nodeId?: string | null
    agentId?: string | null
    resolvedPath?: string | null
    warningText?: string | null
    allowedDecisions?: Decision[]
  }
  createdAtMs: number
  expiresAtMs: number
}

/** A request that has ended. */
export interface PastApproval {
  id: string
  status: 'allowed' | 'denied' | 'expired' | 'cancelled'
  decision?: Decision
  presentation: { commandText?: string; host?: string | null; nodeId?: string | null; agentId?: string | null }
  resolvedAtMs?: number
}

/** Commands that wait for a person, and what was said to earlier ones. */
export class Approvals extends Listing {
  pending: PendingApproval[] = []
  past: PastApproval[] = []
  #announced = new Set<string>()

  constructor(session: Session) {
    super(session, 'operator.approvals', ['exec.approval.requested', 'exec.approval.resolved'])
  }

  /** Reports whether this browser may be asked to show notifications, and has not said yet. */
  get mayAskToNotify(): boolean {
    return 'Notification' in window && window.isSecureContext && Notification.permission === 'default'
  }

  /** Asks the browser whether it may tell its user about a request while the page is not looked at. */
  async askToNotify(): Promise<void> {
    await Notification.requestPermission()
    this.changed()
  }

  resolve(id: string, decision: Decision): Promise<void> {
    return this.act('exec.approval.resolve', { id, decision })
  }

  protected override async load(): Promise<() => void> {
    const [pending, { items }] = await Promise.all([
      this.session.request<PendingApproval[]>('exec.approval.list', {}),
      this.session.request<{ items: PastApproval[] }>('approval.history', { limit: 30 })
    ])
    return () => {
      this.pending = pending
      this.past = items
      for (const approval of pending) this.#announce(approval)
      this.#announced = new Set(pending.map(({ id }) => id))
    }
  }

  protected override clear(): void {
    this.pending = []
    this.past = []
    this.#announced.clear()
  }

  // Not the command itself: a locked screen shows notifications to whoever passes.
  #announce({ id, request: { nodeId, host } }: PendingApproval): void {
    if (this.#announced.has(id) || document.visibilityState === 'visible') return
    if (!('Notification' in window) || Notification.permission !== 'granted') return
    const where = nodeId ? 'a node' : (host ?? 'the gateway')
    const note = new Notification('A command waits for your approval', { body: `It would run on ${where}.`, tag: id })
    note.onclick = () => {
      window.focus()
      note.close()
    }
  }
}
