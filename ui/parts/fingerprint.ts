import { css, html } from 'lit'
import { Copying } from './copy.ts'
import { icon } from './icon.ts'
import { base } from './styles.ts'

/** A certificate's fingerprint: enough of it to compare by eye, and all of it to copy. */
export class Fingerprint extends Copying {
  static override properties = { ...Copying.properties, value: {}, whole: { state: true } }
  static override styles = [
    base,
    css`
      :host {
        display: flex;
        align-items: center;
        gap: 0.25rem;
      }
      code {
        min-width: 0;
        font: 0.87em/1.5 var(--mono);
        overflow-wrap: anywhere;
        user-select: all;
      }
      button {
        flex: none;
        min-height: 2.1rem;
        padding: 0 0.5rem;
      }
    `
  ]
  declare value: string
  declare whole: boolean

  constructor() {
    super()
    this.whole = false
  }

  override render() {
    return html`
      <code title=${this.value}>${this.whole ? this.value : short(this.value)}</code>
      <button
        type="button"
        class="quiet"
        @click=${() => this.copy(this.value)}
        aria-label=${this.copied ? 'Copied' : 'Copy the whole fingerprint'}
      >
        ${icon(this.copied ? 'check' : 'copy', 16)}
      </button>
      <span class="visually-hidden" role="status">${this.copied ? 'Copied' : ''}</span>
    `
  }

  protected override async showAll(): Promise<void> {
    this.whole = true
    await this.updateComplete
  }
}

function short(value: string): string {
  return value.length > 32 ? `${value.slice(0, 19)}…${value.slice(-8)}` : value
}

customElements.define('ui-fingerprint', Fingerprint)
