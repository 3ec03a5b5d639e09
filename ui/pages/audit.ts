import { css, html, nothing, type TemplateResult } from 'lit'
import type { EventKind, EventOutcome } from '../../src/protocol/audit.ts'
import type { Control } from '../control.ts'
import { ago, clientName, deviceName, exactTime, methodName, shortId } from '../format.ts'
import { type IconName, icon } from '../parts/icon.ts'
import { base } from '../parts/styles.ts'
import type { AuditEvent } from '../state/audit.ts'
import { View } from '../view.ts'

/** Who came in, who was turned away, and who changed that. */
export class AuditPage extends View {
  static override properties = { ...View.properties, sought: { state: true } }
  static override styles = [
    base,
    css`
      header {
        margin-bottom: 1.5rem;
      }
      header p {
        margin-top: 0.3rem;
        max-width: 40rem;
      }
      .filters {
        display: flex;
        flex-wrap: wrap;
        gap: 0.75rem;
        margin-bottom: 1rem;
      }
      .outcomes {
        display: flex;
        flex: none;
        padding: 0.2rem;
        gap: 0.15rem;
        border: 1px solid var(--line);
        border-radius: calc(var(--radius-small) + 0.2rem);
        background: var(--sunken);
      }
      .outcomes button {
        flex: 1;
        min-height: 2.3rem;
        padding: 0 0.8rem;
        border-color: transparent;
        background: transparent;
        color: var(--ink-soft);
        font-size: 0.9rem;
      }
      .outcomes button:hover {
        background: var(--hover);
      }
      .outcomes button[aria-pressed="true"] {
        border-color: var(--line);
        background: var(--surface);
        color: var(--ink);
      }
      input {
        flex: 1 1 15rem;
        width: auto;
        min-width: 0;
      }
      .notice {
        margin-bottom: 1rem;
      }
      .event {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr) auto;
        gap: 0 0.9rem;
        padding: 0.8rem 1.25rem;
        border-top: 1px solid var(--line);
      }
      .event:first-child {
        border-top: 0;
      }
      .glyph {
        display: grid;
        place-items: center;
        grid-row: 1 / span 3;
        width: 2.1rem;
        height: 2.1rem;
        margin-top: 0.1rem;
        border-radius: var(--radius-small);
        background: var(--sunken);
        color: var(--ink-soft);
      }
      .allowed .glyph {
        color: var(--good);
      }
      .denied .glyph {
        background: var(--bad-wash);
        color: var(--bad);
      }
      .changed .glyph {
        background: var(--accent-wash);
        color: var(--accent);
      }
      .name {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.15rem 0.5rem;
        font-weight: 600;
      }
      .why,
      .faint {
        grid-column: 2 / -1;
        overflow-wrap: anywhere;
      }
      .why {
        font-size: 0.93rem;
        color: var(--ink-soft);
      }
      .denied .badge {
        border-color: transparent;
        background: var(--bad-wash);
        color: var(--bad);
      }
      time {
        margin-top: 0.1rem;
        color: var(--ink-faint);
        font-size: 0.87rem;
        white-space: nowrap;
        font-variant-numeric: tabular-nums;
      }
      .empty {
        padding: 1.5rem 1.25rem;
        color: var(--ink-soft);
      }
      .older {
        display: block;
        margin: 1rem auto 0;
      }
      @media (max-width: 44rem) {
        .outcomes {
          flex: 1 1 100%;
        }
        .outcomes button {
          padding: 0 0.4rem;
          min-height: 2.6rem;
        }
        .event {
          padding: 0.8rem 1rem;
          gap: 0 0.75rem;
        }
        .older {
          width: 100%;
          min-height: 2.6rem;
        }
      }
    `
  ]
  declare sought: string

  constructor() {
    super()
    this.sought = ''
  }

  protected override watches() {
    return [this.control.audit, this.control.devices, this.control.session]
  }

  protected override get ticking() {
    return true
  }

  override connectedCallback(): void {
    super.connectedCallback()
    this.control.audit.watch()
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    this.control.audit.unwatch()
  }

  override render() {
    return html`
      <header>
        <h1>Audit</h1>
        <p class="soft">Who came in, who was turned away, and who changed that.</p>
      </header>
      ${
        this.control.audit.allowed
          ? this.#trail()
          : html`<p class="notice">This session may not see the audit trail: that takes full control.</p>`
      }
    `
  }

  #trail(): TemplateResult {
    const { audit } = this.control
    const found = audit.events.filter((event) => this.#matches(event))
    return html`
      <search class="filters">
        <div class="outcomes" role="group" aria-label="Outcome">
          ${[undefined, 'denied' as const, 'allowed' as const, 'changed' as const].map((each) => this.#choice(each))}
        </div>
        <input
          type="search"
          aria-label="Filter events"
          placeholder="Filter by who, address or reason"
          autocomplete="off"
          maxlength="100"
          .value=${this.sought}
          @input=${(event: InputEvent) => {
            this.sought = (event.target as HTMLInputElement).value
          }}
        />
      </search>
      ${audit.error ? html`<p class="notice bad" role="alert">${audit.error}</p>` : nothing}
      <ul class="card" aria-label="Events">
        ${
          found.length === 0
            ? html`<li class="empty">${this.#nothing()}</li>`
            : found.map((event) => this.#event(event))
        }
      </ul>
      ${audit.more ? html`<button class="older" @click=${() => audit.loadOlder()}>Load older</button>` : nothing}
    `
  }

  #choice(outcome: EventOutcome | undefined): TemplateResult {
    const { audit } = this.control
    const chosen = audit.outcome === outcome
    return html`<button aria-pressed=${chosen} @click=${() => audit.show(outcome)}>
      ${outcome === undefined ? 'All' : outcomes[outcome].word}
    </button>`
  }

  #event(event: AuditEvent): TemplateResult {
    const { kind, outcome, count, ts, detail, reason } = event
    const why = [reason?.replaceAll('_', ' '), detail].filter(Boolean).join(' · ')
    return html`<li class=${`event ${outcome}`}>
      <span class="glyph">${icon(outcomes[outcome].icon, 18)}</span>
      <div class="name">
        ${kinds[kind] ?? kind} ${outcome === 'changed' ? nothing : html`<span class="badge">${outcomes[outcome].word}</span>`}
        ${count > 1 ? html`<span class="badge" title=${`${count} times`}>${count}×</span>` : nothing}
      </div>
      <time datetime=${new Date(ts).toISOString()} title=${exactTime(ts)}>${ago(ts)}</time>
      ${why ? html`<div class="why">${why}</div>` : nothing}
      <div class="faint">${this.#facts(event).join('\u00a0· ')}</div>
    </li>`
  }

  #facts({ who, method, address, client }: AuditEvent): string[] {
    const facts = [
      // Who came by nothing but a method is no more than that.
      who === method ? undefined : who && this.#nameOf(who),
      method && methodName(method),
      address === 'local' ? 'this machine' : address,
      client && clientName(client)
    ]
    return facts.filter((fact): fact is string => fact !== undefined && fact !== '')
  }

  #nameOf(who: string): string {
    const device = this.control.devices.paired.find(({ deviceId }) => deviceId === who)
    if (device) return deviceName(device)
    return /^[0-9a-f]{64}$/.test(who) ? `device ${shortId(who)}` : who
  }

  #matches(event: AuditEvent): boolean {
    const { kind, outcome, reason, method, who, detail } = event
    const text = [
      kind,
      kinds[kind],
      outcome,
      outcomes[outcome].word,
      reason,
      method,
      who,
      detail,
      ...this.#facts(event)
    ]
    return text.join('\n').toLowerCase().includes(this.sought.trim().toLowerCase())
  }

  #nothing(): string {
    const { loaded, events, more } = this.control.audit
    if (!loaded) return 'Loading…'
    if (events.length === 0) return 'Nothing is recorded yet.'
    return more ? 'Nothing of what is loaded matches.' : 'Nothing matches.'
  }
}

const outcomes: Record<EventOutcome, { word: string; icon: IconName }> = {
  allowed: { word: 'Allowed', icon: 'check' },
  denied: { word: 'Denied', icon: 'ban' },
  changed: { word: 'Changed', icon: 'key' }
}

const kinds: Record<EventKind, string> = {
  connect: 'Connection',
  http: 'HTTP request',
  ingress: 'Request through an unknown proxy',
  origin: 'Request from another page',
  'device.paired': 'Device paired',
  'device.requested': 'Device asked to be let in',
  'device.rejected': 'Device turned away',
  'device.removed': 'Device removed',
  'device.revoked': 'Device’s access revoked',
  'device.rotated': 'Device’s token replaced',
  'node.approved': 'Node’s commands approved',
  'node.rejected': 'Node’s commands rejected',
  'node.removed': 'Node removed',
  'device.expired': 'Pairing request expired',
  'device.granted': 'Device given more',
  'launch.created': 'Launch link made',
  'setup.created': 'Setup code made',
  'token.created': 'Token made',
  'token.revoked': 'Token revoked',
  'secret.rotated': 'Shared secret replaced',
  'access.changed': 'Access settings changed',
  'approval.allowed': 'Command approved',
  'approval.denied': 'Command denied',
  'policy.changed': 'Exec policy changed'
}

customElements.define('ui-audit', AuditPage)

/** The page as the shell shows it. */
export function render(control: Control): TemplateResult {
  return html`<ui-audit .control=${control}></ui-audit>`
}
