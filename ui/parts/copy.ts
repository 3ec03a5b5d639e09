import { LitElement, type PropertyDeclarations } from 'lit'

const SHOWN_MS = 2_000

/** An element with a button that copies a text. */
export abstract class Copying extends LitElement {
  static override properties: PropertyDeclarations = { copied: { state: true } }
  declare copied: boolean

  constructor() {
    super()
    this.copied = false
  }

  /** Copies a text; where the page may not, selects what shows it, and the visitor's own shortcut copies. */
  protected async copy(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text)
      this.copied = true
      setTimeout(() => {
        this.copied = false
      }, SHOWN_MS)
    } catch {
      // Plain HTTP has no clipboard.
      await this.showAll()
      const code = this.renderRoot.querySelector('code')
      if (code) getSelection()?.selectAllChildren(code)
    }
  }

  /** Shows all of the text, where only a part of it was shown. */
  protected async showAll(): Promise<void> {}
}
