import { css, html, LitElement, nothing } from 'lit'
import { base, dialogFrame } from './styles.ts'

/** What a dialog asks. */
export interface Question {
  title: string
  text: string
  confirm: string
  danger?: boolean
  /** Asks for a line of text, starting with this. */
  input?: { label: string; value: string; maxLength: number }
  run(value: string): Promise<void>
}

/** Asks before something that cannot be undone; says what went wrong in place, and stays open then. */
export class AskDialog extends LitElement {
  static override properties = { question: { state: true }, busy: { state: true }, error: { state: true } }
  static override styles = [
    base,
    dialogFrame,
    css`
      label {
        display: block;
        margin-top: 1rem;
        font-weight: 500;
        font-size: 0.9rem;
      }
      label input {
        margin-top: 0.35rem;
      }
      .notice {
        margin-top: 1rem;
      }
    `
  ]
  declare question: Question | undefined
  declare busy: boolean
  declare error: string | undefined

  constructor() {
    super()
    this.busy = false
  }

  /** Opens with a question; the browser keeps focus inside and gives it back afterwards. */
  async ask(question: Question): Promise<void> {
    this.question = question
    this.error = undefined
    await this.updateComplete
    this.#dialog.showModal()
    const field = this.renderRoot.querySelector<HTMLInputElement>('input')
    field?.select()
  }

  override render() {
    const { question } = this
    return html`<dialog aria-labelledby="title" aria-describedby="text" @close=${this.#closed}>
      ${
        question &&
        html`<form @submit=${this.#submit}>
          <h2 id="title">${question.title}</h2>
          <p id="text" class="soft">${question.text}</p>
          ${
            question.input &&
            html`<label
              >${question.input.label}
              <input name="value" .value=${question.input.value} maxlength=${question.input.maxLength} autocomplete="off"
            /></label>`
          }
          ${this.error ? html`<p class="notice bad" role="alert">${this.error}</p>` : nothing}
          <div class="actions">
            <button type="button" ?autofocus=${!question.input} @click=${() => this.#dialog.close()}>Cancel</button>
            <button class=${question.danger ? 'danger' : 'primary'} ?disabled=${this.busy}>${question.confirm}</button>
          </div>
        </form>`
      }
    </dialog>`
  }

  get #dialog(): HTMLDialogElement {
    return this.renderRoot.querySelector('dialog')!
  }

  #closed() {
    this.question = undefined
  }

  async #submit(event: SubmitEvent) {
    event.preventDefault()
    const value = new FormData(event.target as HTMLFormElement).get('value')
    this.busy = true
    this.error = undefined
    try {
      await this.question?.run(typeof value === 'string' ? value.trim() : '')
      this.#dialog.close()
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error)
    } finally {
      this.busy = false
    }
  }
}

customElements.define('ui-dialog', AskDialog)
