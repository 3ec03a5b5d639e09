import { css, html, nothing, type TemplateResult } from 'lit'
import { duration, methodName, sentence, userWords, when } from '../format.ts'
import '../parts/command.ts'
import '../parts/fingerprint.ts'
import { base } from '../parts/styles.ts'
import { hrefOf } from '../place.ts'
import { networkAddresses, purposeOf, type TailscaleExposure, waysIn } from '../state/ways-in.ts'
import { View } from '../view.ts'

/** From where the gateway can be reached, how callers show who they are, and what stands in the way of either. */
export class Reach extends View {
  static override styles = [
    base,
    css`
      dl {
        display: grid;
        grid-template-columns: minmax(6rem, auto) minmax(0, 1fr);
        gap: 0.65rem 1rem;
      }
      dt {
        color: var(--ink-soft);
      }
      dd {
        overflow-wrap: anywhere;
      }
      dd .notice {
        margin-top: 0.4rem;
      }
      dd .notice:first-child {
        margin-top: 0;
      }
      .notice p {
        user-select: text;
        white-space: pre-line;
      }
      .notice ui-command {
        margin-top: 0.7rem;
      }
      @media (max-width: 26rem) {
        dl {
          grid-template-columns: minmax(0, 1fr);
          gap: 0;
        }
        dt {
          font-size: 0.87rem;
        }
        dd {
          margin-bottom: 0.75rem;
        }
      }
    `
  ]

  protected override watches() {
    return [this.control.monitor, this.control.session]
  }

  protected override get ticking() {
    return true
  }

  override render() {
    const { session, monitor } = this.control
    const { exposure } = monitor
    const mode = exposure.authMode ?? (session.hello?.snapshot.authMode as string | undefined)
    const host = monitor.presence.find(({ reason, mode: kind }) => reason === 'self' || kind === 'gateway')
    return html`<dl>
      ${row('Host', host?.host && [host.host, host.platform].filter(Boolean).join(' · '))}
      ${row('Reachable from', this.#waysIn())} ${row('Port', exposure.port)}
      ${row('Tailscale', exposure.tailscale && this.#tailscale(exposure.tailscale))} ${row('TLS', this.#tls())}
      ${row('Authentication', mode && (modes[mode] ?? mode))} ${this.#signedIn()}
      ${row('Configuration', this.#configuration())}
      ${row(
        'Listening on',
        exposure.listeners?.length
          ? html`<ul>
              ${exposure.listeners.map(
                (each) => html`<li>
                  <span class="mono">${each}</span> <span class="faint">${purposeOf(each, exposure)}</span>
                </li>`
              )}
            </ul>`
          : undefined
      )}
    </dl>`
  }

  #waysIn(): TemplateResult | undefined {
    const ways = waysIn(this.control.monitor.exposure, window.location)
    return (
      ways &&
      html`<ul>
        ${ways.map(({ from, everyone }) => html`<li>${from}${everyone ? publicBadge : nothing}</li>`)}
      </ul>`
    )
  }

  #tailscale({ mode, phase, url, error, fix, retryAtMs }: TailscaleExposure): TemplateResult | string | undefined {
    if (mode === undefined || mode === 'off') return mode && 'Off'
    const name = mode === 'serve' ? 'Serve' : mode === 'funnel' ? 'Funnel' : mode
    if (phase === 'active')
      return html`${name}${url ? html`, at ${link(url)}` : nothing}${mode === 'funnel' ? publicBadge : nothing}`
    if (phase !== 'retrying')
      return html`${name}, ${phase === 'starting' ? 'starting' : 'stopped'}${error ? html`: ${error}` : nothing}`
    return html`${name}
      <div class="notice warn">
        <p>${sentence(`not exposed: ${error}`)}</p>
        ${this.#nextTry(retryAtMs)}
        ${fix ? html`<ui-command .command=${fix.command} .where=${fix.where}></ui-command>` : nothing}
      </div>`
  }

  #nextTry(retryAtMs: number | undefined): TemplateResult | typeof nothing {
    // A gateway that nobody hears from tries too, but when is not known.
    if (retryAtMs === undefined || this.control.session.phase.name !== 'open') return nothing
    const left = Math.ceil((retryAtMs + this.control.monitor.clockAheadMs - Date.now()) / 1000)
    return html`<p class="soft">${left > 0 ? `Next try in ${duration(left * 1000)}.` : 'Trying now.'}</p>`
  }

  #tls(): TemplateResult | string | undefined {
    const { bind, tls, listeners = [] } = this.control.monitor.exposure
    if (tls === undefined) return undefined
    if (!tls.enabled) {
      // Between the machines of a tailnet everything is encrypted as it is.
      if (bind === 'tailnet' || networkAddresses(listeners).length === 0) return 'Off'
      return html`Off<div class="notice warn"><p>The gateway does not encrypt what goes over the network.</p></div>`
    }
    const { fingerprint, notAfter, problem } = tls
    return html`
      ${fingerprint ? html`<ui-fingerprint .value=${fingerprint}></ui-fingerprint>` : nothing}
      ${notAfter ? html`<div>${expiry(new Date(notAfter).getTime())}</div>` : nothing}
      ${problem ? html`<div class="notice warn"><p>${sentence(problem)}</p></div>` : nothing}
    `
  }

  #signedIn(): TemplateResult | typeof nothing {
    const { hello, instanceId } = this.control.session
    if (!hello) return nothing
    const { method } = hello.auth
    const words = method === 'device-token' ? 'This browser’s own token' : methodName(method)
    const user = this.control.monitor.presence.find((each) => each.instanceId === instanceId)?.user
    if (!user) return row('Signed in with', words)
    return row('Signed in as', html`<strong>${userWords(user)}</strong><div class="faint">${words}</div>`)
  }

  #configuration(): TemplateResult | undefined {
    const { problem, restart = [] } = this.control.monitor.configReload
    if (problem === undefined && restart.length === 0) return undefined
    return html`
      ${problem === undefined ? nothing : html`<div class="notice bad"><p>${sentence(`the file is not in force: ${problem}`)}</p></div>`}
      ${
        restart.length === 0
          ? nothing
          : html`<div class="notice warn">
              <p>Restart to apply: ${restart.map((key, index) => html`${index ? ', ' : ''}<span class="mono">${key}</span>`)}</p>
            </div>`
      }
    `
  }
}

const publicBadge = html` <span class="badge warn">Public</span>`

const modes: Record<string, string> = {
  token: 'Shared token',
  password: 'Shared password',
  'trusted-proxy': 'Identity-aware proxy',
  none: 'None'
}

function row(title: string, value: unknown): TemplateResult | typeof nothing {
  return value === undefined || value === '' ? nothing : html`<dt>${title}</dt><dd>${value}</dd>`
}

// The page behind that name is another visit: this one stays where it is.
function link(url: string): TemplateResult {
  return html`<a href=${new URL(hrefOf('/'), url).href} target="_blank" rel="noopener">${url.replace(/\/$/, '')}</a>`
}

function expiry(notAfter: number): string {
  const left = notAfter - Date.now()
  return left > 0 ? `Expires in ${duration(left)}, ${when(notAfter)}` : `Expired ${when(notAfter)}`
}

customElements.define('ui-reach', Reach)
