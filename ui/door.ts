import { css, html, nothing, type TemplateResult } from 'lit'
import { duration } from './format.ts'
import './parts/command.ts'
import { icon, mark } from './parts/icon.ts'
import { base } from './parts/styles.ts'
import { explain, type Refusal, waitingUser } from './state/refusal.ts'
import type { SessionPhase } from './state/session.ts'
import { View } from './view.ts'

/** What stands before the control surface: sign-in, and every reason to wait. Says nothing about the gateway itself. */
export class Door extends View {
  static override properties = { ...View.properties, revealed: { state: true } }
  static override styles = [
    base,
    css`
      :host {
        min-height: 100dvh;
        display: grid;
        place-items: center;
        padding: 1.5rem 1rem;
      }
      main {
        width: min(28rem, 100%);
      }
      .card {
        padding: 2rem;
      }
      .brand {
        display: flex;
        justify-content: center;
        margin-bottom: 1.5rem;
      }
      h1 {
        font-size: 1.4rem;
      }
      h1 + p {
        margin-top: 0.4rem;
      }
      form {
        margin-top: 1.5rem;
      }
      label {
        display: block;
        margin-bottom: 0.4rem;
        font-weight: 500;
      }
      .field {
        position: relative;
      }
      .field input {
        padding-right: 3rem;
      }
      .field button {
        position: absolute;
        inset: 0.2rem 0.2rem 0.2rem auto;
        width: 2.5rem;
        min-height: 0;
        padding: 0;
      }
      form > button {
        width: 100%;
        min-height: 2.75rem;
        margin-top: 1rem;
      }
      .notice {
        margin-top: 1.25rem;
      }
      .notice h2 + p {
        margin-top: 0.2rem;
      }
      .notice > * + p,
      .notice > * + ui-command,
      .help ui-command {
        margin-top: 0.8rem;
      }
      .help {
        margin-top: 1.5rem;
        padding-top: 1.25rem;
        border-top: 1px solid var(--line);
      }
      .row {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.6rem;
        margin-top: 1.5rem;
      }
      .pulse {
        animation: pulse 1.6s ease-in-out infinite;
      }
      dl {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        gap: 0.3rem 1rem;
        margin-top: 1.25rem;
        font-size: 0.9rem;
      }
      dt {
        color: var(--ink-soft);
      }
      dd {
        overflow-wrap: anywhere;
      }
      .countdown {
        font-variant-numeric: tabular-nums;
      }
      @keyframes pulse {
        50% {
          opacity: 0.35;
        }
      }
      @media (max-width: 34rem) {
        .card {
          padding: 1.5rem 1.25rem;
        }
      }
    `
  ]
  declare revealed: boolean

  constructor() {
    super()
    this.revealed = false
  }

  protected override watches() {
    return [this.control.session]
  }

  protected override get ticking() {
    return true
  }

  override render() {
    return html`<main id="main" tabindex="-1">
      <div class="brand">${mark(44)}</div>
      ${this.#screen(this.control.session.phase)}
    </main>`
  }

  #screen(phase: SessionPhase): TemplateResult {
    if (phase.name === 'signed-out') return this.#signIn(phase)
    if (phase.name === 'pairing') return this.#pairing(phase)
    if (phase.name === 'limited') return this.#limited(phase)
    if (phase.name === 'lost') return this.#unreachable(phase)
    return html`<p class="soft pulse" role="status">Connecting…</p>`
  }

  #signIn({ error, busy, vouched }: SessionPhase & { name: 'signed-out' }): TemplateResult {
    const refusal = error && explain(error)
    if (refusal?.final) return barred(refusal)
    return html`<div class="card">
      <h1>Sign in</h1>
      ${refusal?.advice ? nothing : html`<p class="soft">Use this gateway’s token or password.</p>`}
      ${refusal ? panel(refusal) : nothing}
      ${
        vouched
          ? html`<div class="row">
              <button @click=${() => this.control.session.signInAgain()}>Sign in as before</button>
            </div>`
          : nothing
      }
      <form @submit=${this.#submit}>
        <input class="visually-hidden" type="text" name="username" autocomplete="username" value="gateway" tabindex="-1" aria-hidden="true" />
        <label for="secret">Token or password</label>
        <div class="field">
          <input
            id="secret"
            name="secret"
            type=${this.revealed ? 'text' : 'password'}
            autocomplete="current-password"
            autocapitalize="off"
            autofocus
            required
            spellcheck="false"
          />
          <button
            type="button"
            class="quiet"
            aria-label="Show what I type"
            aria-pressed=${this.revealed}
            @click=${() => {
              this.revealed = !this.revealed
            }}
          >
            ${icon('eye')}
          </button>
        </div>
        <button class="primary" ?disabled=${busy}>${busy ? 'Signing in…' : 'Sign in'}</button>
      </form>
      ${
        refusal?.fix
          ? nothing
          : html`<div class="help">
              <p class="soft">No token at hand? Make a link that signs this browser in, once.</p>
              <ui-command command="openclaw dashboard" where="gateway host"></ui-command>
            </div>`
      }
    </div>`
  }

  #pairing({ requestId, error }: SessionPhase & { name: 'pairing' }): TemplateResult {
    const { fix } = explain(error)
    const user = waitingUser(error)
    return html`<div class="card">
      <h1>Approve this browser</h1>
      <p class="soft">
        ${user ? 'You are known, and this browser is new here.' : 'It is new here.'} Once someone who is already in
        approves it, this page opens by itself.
      </p>
      <div class="notice">
        <ui-command .command=${fix?.command ?? 'openclaw dashboard'} .where=${fix?.where ?? 'gateway host'}></ui-command>
      </div>
      <dl>
        ${user ? html`<dt>User</dt><dd><strong>${user}</strong></dd>` : nothing}
        ${requestId ? html`<dt>Request</dt><dd class="mono">${requestId}</dd>` : nothing}
        ${this.control.session.deviceId ? html`<dt>Key</dt><dd class="mono">${this.control.session.deviceId.slice(0, 12)}</dd>` : nothing}
      </dl>
      <div class="row">
        <span class="dot warn pulse"></span><span class="soft" role="status">Waiting for approval</span>
      </div>
      <div class="row">
        <button @click=${() => this.control.session.retry()}>Check now</button>
        <button class="quiet" @click=${() => this.control.session.signOut()}>Sign in another way</button>
      </div>
    </div>`
  }

  #limited({ retryAt, error }: SessionPhase & { name: 'limited' }): TemplateResult {
    const { fix } = explain(error)
    return html`<div class="card">
      <h1>Too many attempts</h1>
      <p class="soft">
        Sign-in from here is paused. Next try in
        <span class="countdown">${left(retryAt)}</span>.
      </p>
      <div class="notice">
        <p>Whoever is at the gateway host need not wait:</p>
        <ui-command .command=${fix?.command ?? 'openclaw dashboard'} .where=${fix?.where ?? 'gateway host'}></ui-command>
      </div>
      <div class="row">
        <button @click=${() => this.control.session.signOut()}>Back to sign-in</button>
      </div>
    </div>`
  }

  #unreachable({ retryAt, error }: SessionPhase & { name: 'lost' }): TemplateResult {
    return html`<div class="card">
      <h1>The gateway does not answer</h1>
      <p class="soft" role="status">${error.code === 'UNAVAILABLE' ? 'It is busy or still starting.' : 'It may be restarting, or the network is down.'}</p>
      <div class="row">
        <button class="primary" @click=${() => this.control.session.retry()}>Try now</button>
        <span class="faint countdown">next try in ${left(retryAt)}</span>
      </div>
    </div>`
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault()
    const secret = String(new FormData(event.target as HTMLFormElement).get('secret') ?? '').trim()
    if (secret) void this.control.session.signIn(secret)
  }
}

function panel(refusal: Refusal): TemplateResult {
  return html`<div class="notice bad" role="alert">
    <h2>${refusal.title}</h2>
    ${explanation(refusal)}
  </div>`
}

/** Where there is nothing to type: a field would only raise hopes. */
function barred(refusal: Refusal): TemplateResult {
  return html`<div class="card" role="alert">
    <h1>${refusal.title}</h1>
    <div class="notice">${explanation(refusal)}</div>
    <div class="row">
      <button class="primary" @click=${() => window.location.reload()}>Try again</button>
    </div>
  </div>`
}

function explanation({ text, advice, admin, fix }: Refusal): TemplateResult {
  return html`
    <p>${text}</p>
    ${advice ? html`<p>${advice}</p>` : nothing} ${admin ? html`<p class="soft">For whoever runs the gateway: ${admin}</p>` : nothing}
    ${fix ? html`<ui-command .command=${fix.command} .where=${fix.where}></ui-command>` : nothing}
  `
}

function left(retryAt: number): string {
  return duration(Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) * 1000)
}

customElements.define('ui-door', Door)
