import { css, html, nothing, type TemplateResult } from 'lit'
import { GatewayError, refusalDetails } from '../../src/client/core.ts'
import { duration, sentence } from '../format.ts'
import { View } from '../view.ts'
import './command.ts'
import { icon } from './icon.ts'
import { base, dialogFrame } from './styles.ts'

interface SetupCode {
  setupId: string
  setupCode: string
  qrDataUrl?: string
  gatewayUrl: string
  access?: 'full' | 'limited' | 'node'
  accessDowngraded?: boolean
  expiresAtMs: number
}

interface Outcome {
  setupId: string
  deviceName?: string
  access: string
}

/** What a code makes of whoever uses it. */
const kinds = [
  { profile: undefined, title: 'Your phone', text: 'Full control of this gateway, as you have it.' },
  {
    profile: 'limited',
    title: 'Another app',
    text: 'Reads, writes and approves; changes no settings and lets nobody in.'
  },
  { profile: 'node', title: 'A node', text: 'Lends its camera, screen or shell; controls nothing.' }
] as const

type Kind = (typeof kinds)[number]

/** Pairs a device that scans a code or is handed its text: once, within ten minutes. */
export class PairDialog extends View {
  static override properties = {
    ...View.properties,
    kind: { state: true },
    code: { state: true },
    outcome: { state: true },
    error: { state: true }
  }
  static override styles = [
    base,
    dialogFrame,
    css`
      .kinds {
        display: grid;
        gap: 0.5rem;
        margin-top: 1rem;
      }
      .kinds button {
        display: block;
        width: 100%;
        padding: 0.7rem 1rem;
        text-align: left;
      }
      .kinds span {
        display: block;
        color: var(--ink-soft);
        font-size: 0.87rem;
        font-weight: 400;
      }
      img {
        display: block;
        width: min(15rem, 70vw);
        margin: 1.25rem auto;
        padding: 0.5rem;
        border-radius: var(--radius-small);
        /* A camera wants black on white, whatever the theme. */
        background: #fff;
        image-rendering: pixelated;
      }
      .faint,
      .notice,
      ui-command {
        margin-top: 1rem;
      }
      .done {
        display: flex;
        align-items: center;
        gap: 0.7rem;
        margin-top: 1rem;
        color: var(--good);
        font-weight: 600;
      }
    `
  ]
  declare kind: Kind | undefined
  declare code: SetupCode | undefined
  declare outcome: Outcome | undefined
  declare error: { message: string; command?: string | undefined; where?: string | undefined } | undefined

  protected override get ticking() {
    return true
  }

  override connectedCallback(): void {
    super.connectedCallback()
    const { session } = this.control
    session.on<Outcome>('device.pair.setup.completed', (outcome) => {
      if (outcome.setupId === this.code?.setupId) this.outcome = outcome
    })
  }

  /** Opens with the question for whom. */
  open(): void {
    this.#forget()
    this.#dialog.showModal()
  }

  override render() {
    return html`<dialog aria-labelledby="title" @close=${this.#forget}>
      <h2 id="title">Pair a device</h2>
      ${this.#body()}
      <div class="actions">
        ${this.kind === undefined ? nothing : html`<button @click=${this.#forget}>Back</button>`}
        <button class=${this.outcome ? 'primary' : ''} autofocus @click=${() => this.#dialog.close()}>
          ${this.outcome ? 'Done' : 'Close'}
        </button>
      </div>
    </dialog>`
  }

  #body(): TemplateResult {
    if (this.error) {
      return html`
        <p class="notice bad" role="alert">${this.error.message}</p>
        ${this.error.command ? html`<ui-command .command=${this.error.command} .where=${this.error.where}></ui-command>` : nothing}
      `
    }
    if (this.outcome) {
      return html`<p class="done" role="status">${icon('check')} ${this.outcome.deviceName ?? 'The device'} is paired.</p>`
    }
    if (this.kind === undefined) {
      return html`
        <p class="soft">A code lets one device in, once, within ten minutes. What is it for?</p>
        <div class="kinds">
          ${kinds.map((kind) => html`<button @click=${() => this.#make(kind)}>${kind.title}<span>${kind.text}</span></button>`)}
        </div>
      `
    }
    return this.code === undefined ? html`<p class="soft">Making a code…</p>` : this.#code(this.code)
  }

  #code({ setupCode, qrDataUrl, gatewayUrl, expiresAtMs, accessDowngraded }: SetupCode): TemplateResult {
    const left = expiresAtMs - (Date.now() - this.control.monitor.clockAheadMs)
    if (left <= 0) return html`<p class="notice warn" role="status">This code has expired. Make another one.</p>`
    const node = this.kind?.profile === 'node'
    return html`
      <p class="soft">
        ${node ? 'On the machine that is to be a node, run:' : 'Scan it with the app, or paste its text there.'}
      </p>
      ${qrDataUrl && !node ? html`<img src=${qrDataUrl} alt="QR code of the setup code" />` : nothing}
      <ui-command .command=${node ? `openclaw node run --pair oc-pair://${setupCode}` : setupCode}></ui-command>
      ${
        accessDowngraded
          ? html`<p class="notice warn">
              ${gatewayUrl} is not encrypted, so this code gives limited access: whoever listens could use it first.
            </p>`
          : nothing
      }
      <p class="faint">
        It leads to ${gatewayUrl} and works for another ${duration(left)}. Keep it to yourself.
      </p>
    `
  }

  async #make(kind: Kind): Promise<void> {
    this.kind = kind
    try {
      this.code = await this.control.session.request<SetupCode>('device.pair.setupCode', {
        ...(kind.profile === undefined ? {} : { bootstrapProfile: kind.profile }),
        includeQr: kind.profile !== 'node'
      })
    } catch (error) {
      const fix = error instanceof GatewayError ? refusalDetails(error).fix : undefined
      this.error = { message: error instanceof Error ? sentence(error.message) : String(error), ...fix }
    }
  }

  #forget(): void {
    this.kind = undefined
    this.code = undefined
    this.outcome = undefined
    this.error = undefined
  }

  get #dialog(): HTMLDialogElement {
    return this.renderRoot.querySelector('dialog')!
  }
}

customElements.define('ui-pair', PairDialog)
