import { css } from 'lit'

/** How pages list things that one may do something about: a glyph, a name with facts below, and actions. */
export const rows = css`
  header {
    display: flex;
    flex-wrap: wrap;
    align-items: flex-end;
    justify-content: space-between;
    gap: 1rem;
    margin-bottom: 1.5rem;
  }
  header p {
    margin-top: 0.3rem;
    max-width: 40rem;
  }
  section {
    margin-top: 1.75rem;
  }
  section > h2 {
    margin-bottom: 0.7rem;
  }
  .row {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr) auto;
    gap: 0.4rem 1rem;
    align-items: center;
    padding: 1.1rem 1.25rem;
    border-top: 1px solid var(--line);
  }
  .row:first-child {
    border-top: 0;
  }
  .pending {
    border-color: color-mix(in srgb, var(--accent) 45%, var(--line));
  }
  .glyph {
    display: grid;
    place-items: center;
    width: 2.6rem;
    height: 2.6rem;
    border-radius: var(--radius-small);
    background: var(--sunken);
    color: var(--ink-soft);
  }
  .pending .glyph {
    background: var(--accent-wash);
    color: var(--accent);
  }
  .name {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.15rem 0.5rem;
    font-weight: 600;
    overflow-wrap: anywhere;
  }
  .facts {
    overflow-wrap: anywhere;
  }
  .badges {
    display: flex;
    flex-wrap: wrap;
    gap: 0.35rem;
    margin-top: 0.5rem;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: 0.4rem;
    justify-content: flex-end;
  }
  .wide {
    grid-column: 1 / -1;
    min-width: 0;
  }
  .on {
    color: var(--good);
  }
  .empty {
    padding: 1.5rem 1.25rem;
    color: var(--ink-soft);
  }
  @media (max-width: 44rem) {
    .row {
      grid-template-columns: auto minmax(0, 1fr);
      padding: 1rem;
    }
    .actions {
      grid-column: 1 / -1;
      justify-content: stretch;
      margin-top: 0.4rem;
    }
    .actions button {
      flex: 1;
      min-height: 2.6rem;
    }
  }
`
