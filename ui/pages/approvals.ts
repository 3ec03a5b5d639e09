import { css, html, nothing, type TemplateResult } from 'lit'
import type { Control } from '../control.ts'
import { ago, deviceName, duration, sentence, shortId } from '../format.ts'
import { icon } from '../parts/icon.ts'
import { rows } from '../parts/rows.ts'
import { base } from '../parts/styles.ts'
import type { Decision, PastApproval, PendingApproval } from '../state/approvals.ts'
import { View } from '../view.ts'

/** Commands that wait for a person's word, and what was said before. */
export class ApprovalsPage extends View {
  static override properties = { ...View.properties, busy: { state: true }, failed: { state: true } }
  static override styles = [
    base,
    rows,
    css`
      pre {
        margin: 0.6rem 0 0;
        padding: 0.7rem 0.9rem;
        border-radius: var(--radius-small);
        background: var(--sunken);
        border: 1px solid var(--line);
        font: 0.87rem/1.5 var(--mono);
        white-space: pre-wrap;
        overflow-wrap: anywhere;
        max-height: 16rem;
        overflow: auto;
      }
      .past .row {
        padding: 0.8rem 1.25rem;
      }
      .past code {
        font: 0.87rem/1.5 var(--mono);
        overflow-wrap: anywhere;
      }
      .denied .glyph {
        color: var(--bad);
      }
      .allowed .glyph {
        color: var(--good);
      }
    `
  ]
  declare busy: string | undefined
  declare failed: { id: string; text: string } | undefined

  protected override watches() {
    return [this.control.approvals, this.control.nodes, this.control.session]
  }

  protected override get ticking() {
    return true
  }

  override render() {
    const { approvals } = this.control
    return html`
      <header>
        <div>
          <h1>Approvals</h1>
          <p class="soft">Commands that ask before they run. Nobody’s answer is a no.</p>
        </div>
        ${
          approvals.allowed && approvals.mayAskToNotify
            ? html`<button @click=${() => approvals.askToNotify()}>Notify me</button>`
            : nothing
        }
      </header>
      ${approvals.allowed ? this.#lists() : html`<p class="notice">This session may not decide about commands.</p>`}
    `
  }

  #lists(): TemplateResult {
    const { pending, past, loaded, error } = this.control.approvals
    return html`
      ${error ? html`<p class="notice bad" role="alert">${error}</p>` : nothing}
      <section aria-labelledby="pending">
        <h2 id="pending">Waiting for you</h2>
        <ul class=${pending.length === 0 ? 'card' : 'card pending'}>
          ${
            pending.length === 0
              ? html`<li class="empty">${loaded ? 'Nothing waits.' : 'Loading…'}</li>`
              : pending.map((approval) => this.#pending(approval))
          }
        </ul>
      </section>
      ${
        past.length === 0
          ? nothing
          : html`<section aria-labelledby="past">
              <h2 id="past">Earlier</h2>
              <ul class="card past">
                ${past.map((approval) => this.#past(approval))}
              </ul>
            </section>`
      }
    `
  }

  #pending({ id, request, expiresAtMs }: PendingApproval): TemplateResult {
    const allowed = request.allowedDecisions ?? ['allow-once', 'deny']
    const left = expiresAtMs - (Date.now() - this.control.monitor.clockAheadMs)
    const button = (decision: Decision, words: string, style: string) =>
      allowed.includes(decision)
        ? html`<button class=${`small ${style}`} ?disabled=${this.busy === id} @click=${() => this.#resolve(id, decision)}>${words}</button>`
        : nothing
    return html`<li class="row">
      <span class="glyph">${icon('terminal', 22)}</span>
      <div>
        <div class="name">On ${this.#where(request)}${request.agentId ? html`, for ${request.agentId}` : nothing}</div>
        <div class="faint facts">
          ${[request.resolvedPath, request.cwd ? `in ${request.cwd}` : undefined].filter(Boolean).join(' · ')}
          ${left > 0 ? `· ends in ${duration(left)}` : '· ending'}
        </div>
      </div>
      <div class="actions">
        ${button('deny', 'Deny', '')} ${button('allow-always', 'Always allow', '')} ${button('allow-once', 'Allow once', 'primary')}
      </div>
      <div class="wide">
        <pre>${request.command}</pre>
        ${request.warningText ? html`<p class="notice warn">${request.warningText}</p>` : nothing}
        ${this.failed?.id === id ? html`<p class="notice bad" role="alert">${this.failed.text}</p>` : nothing}
      </div>
    </li>`
  }

  #past({ status, decision, presentation, resolvedAtMs }: PastApproval): TemplateResult {
    const words = { allowed: decision === 'allow-always' ? 'Always allowed' : 'Allowed once', denied: 'Denied' }
    return html`<li class=${`row ${status}`}>
      <span class="glyph">${icon(status === 'allowed' ? 'check' : 'ban', 18)}</span>
      <div>
        <code>${presentation.commandText}</code>
        <div class="faint facts">
          ${status === 'allowed' || status === 'denied' ? words[status] : 'Nobody answered'} · on ${this.#where(presentation)}
          ${resolvedAtMs === undefined ? nothing : `· ${ago(resolvedAtMs)}`}
        </div>
      </div>
    </li>`
  }

  #where({ nodeId, host }: { nodeId?: string | null; host?: string | null }): string {
    if (!nodeId) return host === 'gateway' || !host ? 'the gateway’s machine' : host
    const node = this.control.nodes.nodes.find((each) => each.nodeId === nodeId)
    return node ? deviceName(node) : `node ${shortId(nodeId)}`
  }

  async #resolve(id: string, decision: Decision): Promise<void> {
    this.busy = id
    this.failed = undefined
    try {
      await this.control.approvals.resolve(id, decision)
    } catch (error) {
      this.failed = { id, text: sentence(error instanceof Error ? error.message : String(error)) }
    } finally {
      this.busy = undefined
    }
  }
}

customElements.define('ui-approvals', ApprovalsPage)

/** The page as the shell shows it. */
export function render(control: Control): TemplateResult {
  return html`<ui-approvals .control=${control}></ui-approvals>`
}
