import { css, html, nothing } from 'lit'
import { Copying } from './copy.ts'
import { icon } from './icon.ts'
import { base } from './styles.ts'

/** A command to run, where to run it, and a button that copies it. */
export class CommandLine extends Copying {
  static override properties = { ...Copying.properties, command: {}, where: {} }
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

  override render() {
    return html`
      ${this.where ? html`<p>Run on the ${this.where.replace(/^this /, '')}:</p>` : nothing}
      <div class="line">
        <code>${words(this.command)}</code>
        <button type="button" @click=${() => this.copy(this.command)} aria-label=${this.copied ? 'Copied' : 'Copy command'}>
          ${icon(this.copied ? 'check' : 'copy', 18)}
        </button>
      </div>
      <span class="visually-hidden" role="status">${this.copied ? 'Copied' : ''}</span>
    `
  }
}

/** A line may break between words, or after the dots of a long one, however a word hyphenates. */
function words(command: string) {
  return command.split(' ').map((word, index) => {
    const parts = word.split(/(?<=\w\.)(?=\w)/)
    return html`${index === 0 ? '' : ' '}<span>${parts.map((part, at) => html`${at === 0 ? nothing : html`<wbr />`}${part}`)}</span>`
  })
}

customElements.define('ui-command', CommandLine)
