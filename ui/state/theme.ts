import { Store } from './store.ts'

const KEY = 'control:theme'

/** Light or dark: the system's choice, unless the visitor made another. */
export class Theme extends Store {
  readonly #system = window.matchMedia('(prefers-color-scheme: dark)')
  #chosen: string | null

  constructor() {
    super()
    this.#chosen = read()
    this.#system.addEventListener('change', () => this.#apply())
    this.#apply()
  }

  get dark(): boolean {
    return this.#chosen === null ? this.#system.matches : this.#chosen === 'dark'
  }

  /** Switches to the other one; back at the system's choice, follows the system again. */
  toggle(): void {
    const dark = !this.dark
    this.#chosen = dark === this.#system.matches ? null : dark ? 'dark' : 'light'
    write(this.#chosen)
    this.#apply()
  }

  #apply(): void {
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light'
    this.changed()
  }
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

function write(value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, value)
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
