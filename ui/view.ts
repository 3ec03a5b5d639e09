import { LitElement, type PropertyDeclarations } from 'lit'
import type { Control } from './control.ts'
import type { Store } from './state/store.ts'

/** An element that shows state: it renders again when a store it watches changes. */
export abstract class View extends LitElement {
  static override properties: PropertyDeclarations = { control: { attribute: false } }
  declare control: Control
  readonly #update = () => this.requestUpdate()
  #watched: Store[] = []
  #second: ReturnType<typeof setInterval> | undefined

  /** The stores to watch while connected. */
  protected watches(): Store[] {
    return []
  }

  /** Reports whether the view shows something that moves with the clock. */
  protected get ticking(): boolean {
    return false
  }

  override connectedCallback(): void {
    super.connectedCallback()
    this.#watched = this.watches()
    for (const store of this.#watched) store.addEventListener('change', this.#update)
    if (this.ticking) this.#second = setInterval(this.#update, 1_000)
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    for (const store of this.#watched) store.removeEventListener('change', this.#update)
    clearInterval(this.#second)
  }
}
