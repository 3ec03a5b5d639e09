import { css, html, LitElement, nothing } from 'lit'
import { icon } from './icon.ts'
import { base } from './styles.ts'

/** A command to run, where to run it, and a button that copies it. */
export class CommandLine extends LitElement {
  static override properties = { command: {}, where: {}, copied: { state: true } }
  static override styles = [
    base,
    css`
      .line {
        display: flex;
        align-items: stretch;
        border: 1px solid var(--line);
        border-radius: var(--radius-small);
        background: var(--surface);
        overflow: hidden;
      }
      code {
        flex: 1;
        min-width: 0;
        padding: 0.6rem 0.8rem;
        font: 0.87rem/1.5 var(--mono);
        overflow-wrap: anywhere;
        user-select: all;
      }
      code span {
        display: inline-block;
        max-width: 100%;
      }
      button {
        flex: none;
        min-height: 2.6rem;
        border: 0;
        border-left: 1px solid var(--line);
        border-radius: 0;
        padding: 0 0.8rem;
        color: var(--ink-soft);
      }
      button:focus-visible {
        outline-offset: -3px;
      }
      p {
        margin-bottom: 0.35rem;
        font-size: 0.87rem;
        color: var(--ink-soft);
      }
    `
  ]
  declare command: string
  declare where: string | undefined
  declare copied: boolean

  constructor() {
    super()
    this.copied = false
  }

  override render() {
    return html`
      ${this.where ? html`<p>Run on the ${this.where.replace(/^this /, '')}:</p>` : nothing}
      <div class="line">
        <code>${words(this.command)}</code>
        <button type="button" @click=${this.#copy} aria-label=${this.copied ? 'Copied' : 'Copy command'}>
          ${icon(this.copied ? 'check' : 'copy', 18)}
        </button>
      </div>
      <span class="visually-hidden" role="status">${this.copied ? 'Copied' : ''}</span>
    `
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.command)
      this.copied = true
      setTimeout(() => {
        this.copied = false
      }, 2_000)
    } catch {
      // Plain HTTP has no clipboard: select it, and the visitor's own shortcut copies.
      const code = this.renderRoot.querySelector('code')
      if (code) getSelection()?.selectAllChildren(code)
    }
  }
}

/** A line may break between words only, however a word hyphenates. */
function words(command: string) {
  return command.split(' ').map((word, index) => html`${index === 0 ? '' : ' '}<span>${word}</span>`)
}

customElements.define('ui-command', CommandLine)
