import { css, html, type LitElement, nothing, type TemplateResult } from 'lit'
import { CLOSE } from '../src/protocol/codes.ts'
import type { Control } from './control.ts'
import './door.ts'
import { duration } from './format.ts'
import { type Page, pages } from './pages/index.ts'
import { icon, mark } from './parts/icon.ts'
import { base } from './parts/styles.ts'
import { currentPath, hrefOf } from './place.ts'
import { View } from './view.ts'

/** The shell: navigation, connection state, and one page at a time. */
export class ControlApp extends View {
  static override properties = { ...View.properties, page: { state: true }, content: { state: true } }
  static override styles = [
    base,
    css`
      :host {
        min-height: 100dvh;
      }
      .skip {
        position: fixed;
        top: 0.5rem;
        left: 0.5rem;
        z-index: 5;
        padding: 0.6rem 1rem;
        border-radius: var(--radius-small);
        background: var(--accent);
        color: var(--accent-ink);
        transform: translateY(-200%);
      }
      .skip:focus {
        transform: none;
      }
      .shell {
        display: grid;
        grid-template-columns: 15rem minmax(0, 1fr);
        min-height: 100dvh;
      }
      aside {
        position: sticky;
        top: 0;
        height: 100dvh;
        display: flex;
        flex-direction: column;
        gap: 0.25rem;
        padding: 1.25rem 0.9rem;
        border-right: 1px solid var(--line);
      }
      .brand {
        display: flex;
        align-items: center;
        gap: 0.65rem;
        padding: 0 0.5rem 1.25rem;
        font-size: 1.05rem;
        font-weight: 650;
        letter-spacing: -0.01em;
      }
      nav ul {
        display: grid;
        gap: 0.2rem;
      }
      nav a {
        display: flex;
        align-items: center;
        gap: 0.7rem;
        padding: 0.55rem 0.7rem;
        border-radius: var(--radius-small);
        color: var(--ink-soft);
        font-weight: 500;
        text-decoration: none;
      }
      nav a:hover {
        background: var(--hover);
        color: var(--ink);
      }
      nav a[aria-current] {
        background: var(--accent-wash);
        color: var(--accent);
      }
      .count {
        margin-left: auto;
        min-width: 1.35rem;
        padding: 0 0.4rem;
        border-radius: 99px;
        background: var(--accent);
        color: var(--accent-ink);
        font-size: 0.78rem;
        line-height: 1.35rem;
        text-align: center;
      }
      .tools {
        margin-top: auto;
        display: grid;
        gap: 0.15rem;
      }
      .tools button {
        justify-content: flex-start;
        padding: 0 0.7rem;
        gap: 0.7rem;
      }
      .state {
        display: flex;
        align-items: center;
        gap: 0.6rem;
        padding: 0.5rem 0.85rem;
        font-size: 0.9rem;
        color: var(--ink-soft);
      }
      main {
        width: 100%;
        max-width: 72rem;
        margin: 0 auto;
        padding: 2rem 2.25rem 3rem;
        outline: none;
      }
      .banner {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.5rem 1rem;
        margin-bottom: 1.5rem;
        padding: 0.6rem 0.6rem 0.6rem 1rem;
        border-radius: var(--radius-small);
        background: var(--warn-wash);
      }
      .banner span:first-of-type {
        flex: 1;
      }
      @media (max-width: 52rem) {
        .shell {
          display: block;
          padding-bottom: 4.5rem;
        }
        aside {
          position: static;
          height: auto;
          flex-direction: row;
          align-items: center;
          padding: 0.6rem 0.75rem 0.6rem 1rem;
          border-right: 0;
          border-bottom: 1px solid var(--line);
        }
        .brand {
          padding: 0;
        }
        .tools {
          margin: 0 0 0 auto;
          min-width: 0;
          display: flex;
          align-items: center;
        }
        .state {
          min-width: 0;
        }
        .state span:last-child {
          overflow: hidden;
          text-overflow: ellipsis;
          white-space: nowrap;
        }
        .tools button {
          flex: none;
          width: 2.75rem;
          min-height: 2.75rem;
          padding: 0;
          justify-content: center;
        }
        .tools button .words {
          position: absolute;
          width: 1px;
          height: 1px;
          overflow: hidden;
          clip-path: inset(50%);
        }
        nav {
          position: fixed;
          inset: auto 0 0;
          z-index: 2;
          padding-bottom: env(safe-area-inset-bottom);
          background: var(--surface);
          border-top: 1px solid var(--line);
        }
        nav ul {
          grid-auto-flow: column;
          grid-auto-columns: 1fr;
          gap: 0;
        }
        nav a {
          position: relative;
          flex-direction: column;
          gap: 0.1rem;
          padding: 0.5rem 0.25rem;
          border-radius: 0;
          font-size: 0.78rem;
        }
        nav a:focus-visible {
          outline-offset: -3px;
        }
        nav a[aria-current] {
          background: transparent;
        }
        .count {
          position: absolute;
          top: 0.25rem;
          left: calc(50% + 0.5rem);
          font-size: 0.7rem;
          line-height: 1.1rem;
          min-width: 1.1rem;
          padding: 0 0.25rem;
        }
        main {
          padding: 1.25rem 1rem 2rem;
        }
      }
      @media (max-width: 22rem) {
        .brand span {
          display: none;
        }
      }
    `
  ]
  declare page: Page | undefined
  declare content: TemplateResult | undefined

  constructor(control: Control) {
    super()
    this.control = control
  }

  protected override watches() {
    const { session, devices, nodes, approvals, theme } = this.control
    return [session, devices, nodes, approvals, theme]
  }

  protected override get ticking() {
    return true
  }

  override connectedCallback(): void {
    super.connectedCallback()
    window.addEventListener('popstate', () => void this.#show(currentPath()))
    void this.#show(currentPath())
  }

  override render() {
    const { session } = this.control
    const { phase } = session
    // A lost connection keeps the page in place; everything else belongs to the door.
    const inside = session.hello && (phase.name === 'open' || phase.name === 'lost')
    return html`
      <div class="visually-hidden" role="status" aria-live="polite">${this.#announcement()}</div>
      ${inside ? this.#shell() : html`<ui-door .control=${this.control}></ui-door>`}
    `
  }

  protected override updated(): void {
    const title = this.control.session.hello && this.page?.title
    document.title = title ? `${title} · Control` : 'Control'
  }

  #shell(): TemplateResult {
    const { theme, session } = this.control
    return html`
      <a class="skip" href="#main" @click=${this.#skip}>Skip to content</a>
      <div class="shell">
        <aside>
          <div class="brand">${mark()}<span>Control</span></div>
          <nav aria-label="Pages">
            <ul>
              ${pages.map((page) => this.#link(page))}
            </ul>
          </nav>
          <div class="tools">
            ${this.#state()}
            <button class="quiet" @click=${() => theme.toggle()}>
              ${icon(theme.dark ? 'sun' : 'moon')}<span class="words">${theme.dark ? 'Light' : 'Dark'} theme</span>
            </button>
            <button class="quiet" @click=${() => session.signOut()}>
              ${icon('leave')}<span class="words">Sign out</span>
            </button>
          </div>
        </aside>
        <main id="main" tabindex="-1">${this.#banner()} ${this.content ?? nothing}</main>
      </div>
    `
  }

  #link(page: Page): TemplateResult {
    const count = page.badge?.(this.control) ?? 0
    return html`<li>
      <a
        href=${hrefOf(page.path)}
        aria-current=${page === this.page ? 'page' : nothing}
        @click=${(event: MouseEvent) => this.#follow(event, page)}
      >
        ${icon(page.icon)}<span>${page.title}</span>
        ${count > 0 ? html`<span class="count">${count}<span class="visually-hidden"> waiting</span></span>` : nothing}
      </a>
    </li>`
  }

  #state(): TemplateResult {
    const open = this.control.session.phase.name === 'open'
    return html`<div class="state">
      <span class=${open ? 'dot good' : 'dot warn'}></span><span>${open ? 'Connected' : 'Reconnecting'}</span>
    </div>`
  }

  #banner(): TemplateResult | typeof nothing {
    const { phase } = this.control.session
    if (phase.name !== 'lost') return nothing
    const seconds = Math.max(0, Math.ceil((phase.retryAt - Date.now()) / 1000))
    const why =
      phase.error.closeCode === CLOSE.authChanged ? 'Access to the gateway was changed.' : 'The connection was lost.'
    return html`<div class="banner">
      <span>${why} ${seconds > 0 ? `Trying again in ${duration(seconds * 1000)}.` : 'Trying again…'}</span>
      <button class="small" @click=${() => this.control.session.retry()}>Try now</button>
    </div>`
  }

  #announcement(): string {
    const { phase, hello } = this.control.session
    if (phase.name === 'open') return 'Connected'
    if (phase.name === 'lost' && hello) return 'Connection lost. Trying again.'
    return ''
  }

  #follow(event: MouseEvent, page: Page): void {
    // A new tab or window is the browser's business.
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button !== 0) return
    event.preventDefault()
    window.history.pushState(null, '', hrefOf(page.path))
    void this.#show(page.path).then(() => this.#main?.focus())
  }

  async #show(path: string): Promise<void> {
    // A request's own address leads to where it is decided.
    const page = pages.find((each) => each.path === (path.startsWith('/approve/') ? '/approvals' : path))
    this.page = page
    if (!page) {
      this.content = html`<h1>Nothing here</h1><p class="soft">There is no page at this address.</p>`
      return
    }
    const { render } = await page.load()
    if (this.page === page) this.content = render(this.control)
  }

  #skip(event: MouseEvent): void {
    event.preventDefault()
    this.#main?.focus()
  }

  get #main(): HTMLElement | null {
    return this.renderRoot.querySelector('main')
  }
}

customElements.define('ui-control', ControlApp)

declare global {
  interface HTMLElementTagNameMap {
    'ui-control': ControlApp
    'ui-door': LitElement
  }
}
