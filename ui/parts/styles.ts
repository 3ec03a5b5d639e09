import { css } from 'lit'

/** What every view shares: reset, focus, type and buttons. */
export const base = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :host {
    display: block;
  }
  :host([hidden]),
  [hidden] {
    display: none !important;
  }
  h1,
  h2,
  h3,
  p,
  dl,
  dd,
  ul,
  figure {
    margin: 0;
    padding: 0;
  }
  ul {
    list-style: none;
  }
  h1 {
    font-size: 1.6rem;
    font-weight: 650;
    letter-spacing: -0.02em;
    line-height: 1.2;
  }
  h2 {
    font-size: 1rem;
    font-weight: 600;
    letter-spacing: -0.005em;
  }
  a {
    color: var(--accent);
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
    border-radius: 6px;
  }
  .soft {
    color: var(--ink-soft);
  }
  .faint {
    color: var(--ink-faint);
    font-size: 0.87rem;
  }
  .mono {
    font-family: var(--mono);
    font-size: 0.87em;
  }
  .card {
    background: var(--surface);
    border: 1px solid var(--line);
    border-radius: var(--radius);
    box-shadow: var(--shadow);
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    min-height: 2.5rem;
    padding: 0 1rem;
    border: 1px solid var(--line-strong);
    border-radius: var(--radius-small);
    background: var(--surface);
    color: var(--ink);
    font: inherit;
    font-weight: 500;
    cursor: pointer;
    transition:
      background 120ms,
      border-color 120ms;
  }
  button:focus-visible,
  input:focus-visible {
    border-radius: var(--radius-small);
  }
  button:hover {
    background: var(--hover);
  }
  button:disabled {
    opacity: 0.55;
    cursor: default;
  }
  button.primary {
    background: var(--accent);
    border-color: transparent;
    color: var(--accent-ink);
  }
  button.primary:hover:not(:disabled) {
    background: var(--accent-hover);
  }
  button.danger {
    background: var(--bad-solid);
    border-color: transparent;
    color: #fff;
  }
  button.danger:hover:not(:disabled) {
    filter: brightness(0.92);
  }
  button.quiet {
    border-color: transparent;
    background: transparent;
    color: var(--ink-soft);
  }
  button.quiet:hover {
    background: var(--hover);
    color: var(--ink);
  }
  button.small {
    min-height: 2.1rem;
    padding: 0 0.75rem;
    font-size: 0.9rem;
  }
  button.bad {
    color: var(--bad);
  }
  input {
    width: 100%;
    min-height: 2.75rem;
    padding: 0 0.9rem;
    border: 1px solid var(--line-strong);
    border-radius: var(--radius-small);
    background: var(--surface);
    color: var(--ink);
    font: inherit;
    /* Below 16 px a phone zooms into the field. */
    font-size: 1rem;
  }
  input::placeholder {
    color: var(--ink-faint);
  }
  .badge {
    display: inline-flex;
    align-items: center;
    gap: 0.35rem;
    padding: 0.1rem 0.55rem;
    border-radius: 99px;
    background: var(--sunken);
    border: 1px solid var(--line);
    color: var(--ink-soft);
    font-size: 0.8rem;
    font-weight: 500;
    white-space: nowrap;
  }
  .badge.accent {
    background: var(--accent-wash);
    border-color: transparent;
    color: var(--accent);
  }
  .badge.warn {
    background: var(--warn-wash);
    border-color: transparent;
    color: var(--warn);
  }
  .dot {
    flex: none;
    width: 0.55rem;
    height: 0.55rem;
    border-radius: 50%;
    background: var(--ink-faint);
  }
  .dot.good {
    background: var(--good);
  }
  .dot.warn {
    background: var(--warn);
  }
  .notice {
    padding: 0.9rem 1rem;
    border-radius: var(--radius-small);
    background: var(--sunken);
  }
  .notice.bad {
    background: var(--bad-wash);
  }
  .notice.warn {
    background: var(--warn-wash);
  }
  @media (prefers-reduced-motion: reduce) {
    * {
      animation: none !important;
      transition: none !important;
    }
  }
`

/** How a dialog looks, whatever it asks. */
export const dialogFrame = css`
  dialog {
    width: min(28rem, calc(100vw - 2rem));
    max-height: calc(100dvh - 2rem);
    padding: 1.5rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--surface);
    color: var(--ink);
    box-shadow: var(--shadow-high);
  }
  dialog::backdrop {
    background: rgb(10 14 12 / 45%);
  }
  h2 {
    font-size: 1.15rem;
    margin-bottom: 0.5rem;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    justify-content: flex-end;
    gap: 0.6rem;
    margin-top: 1.5rem;
  }
`
