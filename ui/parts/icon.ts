import { html, svg, type TemplateResult } from 'lit'

const paths = {
  overview: svg`<path d="M3 12h4l2.5-6 4.5 12 2.5-6H21"/>`,
  devices: svg`<rect x="3" y="4" width="13" height="10" rx="2"/><path d="M6.5 18h4"/><rect x="15" y="10" width="6" height="10" rx="1.5"/>`,
  nodes: svg`<circle cx="12" cy="5.5" r="2.5"/><circle cx="5.5" cy="17.5" r="2.5"/><circle cx="18.5" cy="17.5" r="2.5"/><path d="M12 8v4m0 0-4.7 3.6M12 12l4.7 3.6"/>`,
  approvals: svg`<path d="M9 4.5H6.5A1.5 1.5 0 0 0 5 6v13a1.5 1.5 0 0 0 1.5 1.5h11A1.5 1.5 0 0 0 19 19V6a1.5 1.5 0 0 0-1.5-1.5H15"/><rect x="9" y="3" width="6" height="3.5" rx="1"/><path d="m8.8 13.4 2.3 2.3 4.2-4.4"/>`,
  plus: svg`<path d="M12 5v14M5 12h14"/>`,
  audit: svg`<path d="M12 3 5 5.8v5.4c0 4.4 2.9 8 7 9.8 4.1-1.8 7-5.4 7-9.8V5.8L12 3Z"/><path d="M9 10h6M9 13.5h4"/>`,
  sun: svg`<circle cx="12" cy="12" r="4"/><path d="M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M18.4 5.6l-1.1 1.1M6.7 17.3l-1.1 1.1"/>`,
  moon: svg`<path d="M20 14.2A8 8 0 0 1 9.8 4a8 8 0 1 0 10.2 10.2Z"/>`,
  leave: svg`<path d="M14 4H7a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h7M10 12h10m0 0-3.5-3.5M20 12l-3.5 3.5"/>`,
  copy: svg`<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5 15H4.5A1.5 1.5 0 0 1 3 13.5v-9A1.5 1.5 0 0 1 4.5 3h9A1.5 1.5 0 0 1 15 4.5V5"/>`,
  check: svg`<path d="m5 12.5 4.5 4.5L19 7.5"/>`,
  ban: svg`<circle cx="12" cy="12" r="8"/><path d="m6.5 6.5 11 11"/>`,
  eye: svg`<path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Z"/><circle cx="12" cy="12" r="3"/>`,
  browser: svg`<rect x="3" y="4" width="18" height="16" rx="2.5"/><path d="M3 9h18M6.5 6.5h.01M9 6.5h.01"/>`,
  terminal: svg`<rect x="3" y="4" width="18" height="16" rx="2.5"/><path d="m7 9 3 3-3 3M12.5 15H17"/>`,
  server: svg`<rect x="3" y="4" width="18" height="7" rx="2"/><rect x="3" y="13" width="18" height="7" rx="2"/><path d="M7 7.5h.01M7 16.5h.01"/>`,
  phone: svg`<rect x="7" y="2.5" width="10" height="19" rx="2.5"/><path d="M11 18.5h2"/>`,
  key: svg`<circle cx="8" cy="15" r="4.5"/><path d="m11.5 12 8-8M16 7.5l2.5 2.5"/>`
} as const

/** The name of an icon. */
export type IconName = keyof typeof paths

/** An icon, one line-width, the colour of the text around it. Never the only carrier of meaning. */
export function icon(name: IconName, size = 20): TemplateResult {
  return html`<svg
    aria-hidden="true"
    width=${size}
    height=${size}
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="1.7"
    stroke-linecap="round"
    stroke-linejoin="round"
  >
    ${paths[name]}
  </svg>`
}

/** The icon that fits a kind of client. */
export function clientIcon(clientId: string | undefined, platform = ''): IconName {
  if (/ios|android|watch/i.test(clientId ?? '') || /iphone|ipad|android/i.test(platform)) return 'phone'
  if (/macos|openclaw-linux/.test(clientId ?? '')) return 'devices'
  if (/control-ui|webchat|browser/.test(clientId ?? '')) return 'browser'
  if (/^(cli|openclaw-tui|gateway-client|test)/.test(clientId ?? '')) return 'terminal'
  return 'server'
}

/** The mark: a gate, ajar. */
export function mark(size = 28): TemplateResult {
  return html`<svg aria-hidden="true" width=${size} height=${size} viewBox="0 0 32 32">
    <rect width="32" height="32" rx="9" fill="var(--accent)" />
    <path
      d="M12.5 8.5a8.5 8.5 0 0 0 0 15M19.5 8.5a8.5 8.5 0 0 1 0 15"
      fill="none"
      stroke="var(--accent-ink)"
      stroke-width="2.6"
      stroke-linecap="round"
    />
    <circle cx="16" cy="16" r="2.6" fill="var(--accent-ink)" />
  </svg>`
}
