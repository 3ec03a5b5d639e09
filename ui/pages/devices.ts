import { html, nothing, type TemplateResult } from 'lit'
import type { Control } from '../control.ts'
import { ago, clientName, deviceName, scopeName, shortId, userWords } from '../format.ts'
import type { AskDialog, Question } from '../parts/dialog.ts'
import '../parts/dialog.ts'
import { clientIcon, icon } from '../parts/icon.ts'
import type { PairDialog } from '../parts/pair-dialog.ts'
import '../parts/pair-dialog.ts'
import { rows } from '../parts/rows.ts'
import { base } from '../parts/styles.ts'
import type { PairedDevice, PendingDevice } from '../state/devices.ts'
import { View } from '../view.ts'

/** Who may connect: requests to decide, and devices to name, cut off or remove. */
export class DevicesPage extends View {
  static override styles = [base, rows]

  protected override watches() {
    return [this.control.devices, this.control.monitor, this.control.session]
  }

  protected override get ticking() {
    return true
  }

  override render() {
    const { devices } = this.control
    return html`
      <header>
        <div>
          <h1>Devices</h1>
          <p class="soft">Every browser, app and node that may connect holds a key of its own. Let in only those you know.</p>
        </div>
        ${
          this.control.session.can('operator.admin')
            ? html`<button class="primary" @click=${() => this.renderRoot.querySelector<PairDialog>('ui-pair')?.open()}>
                ${icon('plus')} Pair a device
              </button>`
            : nothing
        }
      </header>
      ${devices.allowed ? this.#lists() : html`<p class="notice">This session may not manage devices.</p>`}
      <ui-dialog></ui-dialog>
      <ui-pair .control=${this.control}></ui-pair>
    `
  }

  #lists(): TemplateResult {
    const { pending, paired, loaded, error } = this.control.devices
    return html`
      ${error ? html`<p class="notice bad" role="alert">${error}</p>` : nothing}
      ${
        pending.length === 0
          ? nothing
          : html`<section aria-labelledby="pending">
              <h2 id="pending">Waiting for you</h2>
              <ul class="card pending">
                ${pending.map((device) => this.#pending(device))}
              </ul>
            </section>`
      }
      <section aria-labelledby="paired">
        <h2 id="paired">Paired</h2>
        <ul class="card">
          ${
            paired.length === 0
              ? html`<li class="empty">${loaded ? 'No device is paired yet.' : 'Loading…'}</li>`
              : paired.map((device) => this.#paired(device))
          }
        </ul>
      </section>
    `
  }

  #pending(device: PendingDevice): TemplateResult {
    const name = whoAsks(device)
    return html`<li class="row">
      <span class="glyph">${icon(clientIcon(device.clientId, device.platform), 22)}</span>
      <div>
        <div class="name">
          ${name} ${device.user ? html`<span class="badge accent">${icon('check', 14)} Verified user</span>` : nothing}
          ${device.isRepair ? html`<span class="badge">Known device, new request</span>` : nothing}
        </div>
        <div class="faint facts">
          ${device.user ? `Calls itself “${deviceName(device)}” · ` : nothing}${facts(device)} · asked ${ago(device.ts)} · key&nbsp;<span class="mono">${shortId(device.deviceId)}</span>
        </div>
        ${scopes(device)}
      </div>
      <div class="actions">
        <button class="small" @click=${() => this.#reject(device)} aria-label=${`Reject ${name}`}>Reject</button>
        <button class="small primary" @click=${() => this.#approve(device)} aria-label=${`Approve ${name}`}>Approve</button>
      </div>
    </li>`
  }

  #paired(device: PairedDevice): TemplateResult {
    const name = deviceName(device)
    const mine = device.deviceId === this.control.session.deviceId
    const roles = rolesOf(device)
    return html`<li class="row">
      <span class="glyph">${icon(clientIcon(device.clientId, device.platform), 22)}</span>
      <div>
        <div class="name">
          ${name} ${mine ? html`<span class="badge accent">This browser</span>` : nothing}
          ${roles.length === 0 ? html`<span class="badge">No access</span>` : nothing}
        </div>
        <div class="faint facts">
          ${facts(device)} · ${this.#presence(device)} · key&nbsp;<span class="mono">${shortId(device.deviceId)}</span>
        </div>
        ${scopes(device)}
      </div>
      <div class="actions">
        <button class="small quiet" @click=${() => this.#rename(device)} aria-label=${`Rename ${name}`}>Rename</button>
        ${
          roles.length === 0
            ? nothing
            : html`<button
                class="small quiet"
                @click=${() => this.#revoke(device, roles)}
                aria-label=${`Revoke access of ${name}`}
              >
                Revoke
              </button>`
        }
        <button class="small quiet bad" @click=${() => this.#remove(device)} aria-label=${`Remove ${name}`}>Remove</button>
      </div>
    </li>`
  }

  #presence({ connected, deviceId, lastSeenAtMs }: PairedDevice): TemplateResult {
    if (!connected) return lastSeenAtMs === undefined ? html`never seen` : html`seen ${ago(lastSeenAtMs)}`
    const { presence } = this.control.monitor
    const user = presence.find((each) => each.deviceId === deviceId && each.reason === 'connect')?.user
    return html`<span class="on">connected${user ? ` as ${userWords(user)}` : ''}</span>`
  }

  #approve(device: PendingDevice): void {
    const wide = device.scopes?.includes('operator.admin')
    const what = device.user ? `The device calls itself “${deviceName(device)}”. ` : ''
    this.#ask({
      title: `Let ${whoAsks(device)} in?`,
      text: `${what}${
        wide
          ? 'It asks for full control of this gateway: everything you can do, it can do.'
          : 'It keeps its access until you revoke it.'
      }`,
      confirm: 'Approve',
      run: () => this.control.devices.approve(device.requestId)
    })
  }

  #reject(device: PendingDevice): void {
    this.#ask({
      title: `Turn ${whoAsks(device)} away?`,
      text: 'The request is dropped. The device may ask again.',
      confirm: 'Reject',
      danger: true,
      run: () => this.control.devices.reject(device.requestId)
    })
  }

  #rename(device: PairedDevice): void {
    this.#ask({
      title: 'Rename device',
      text: 'A name that you will recognise later.',
      confirm: 'Save',
      input: { label: 'Name', value: deviceName(device), maxLength: 64 },
      run: (label) => this.control.devices.rename(device.deviceId, label)
    })
  }

  #revoke(device: PairedDevice, roles: string[]): void {
    this.#ask({
      title: `Revoke access of ${deviceName(device)}?`,
      text: `${selfWarning(this.control, device)}Its token stops working at once and its connections close. It stays in the list.`,
      confirm: 'Revoke',
      danger: true,
      run: () => this.control.devices.revoke(device.deviceId, roles)
    })
  }

  #remove(device: PairedDevice): void {
    this.#ask({
      title: `Remove ${deviceName(device)}?`,
      text: `${selfWarning(this.control, device)}Its access ends at once. To come back it has to be approved again.`,
      confirm: 'Remove',
      danger: true,
      run: () => this.control.devices.remove(device.deviceId)
    })
  }

  #ask(question: Question): void {
    void this.renderRoot.querySelector<AskDialog>('ui-dialog')?.ask(question)
  }
}

/** Who a request is from: a verified user where there is one, else what the device calls itself. */
function whoAsks(device: PendingDevice): string {
  return device.user ?? deviceName(device)
}

function facts(device: PendingDevice | PairedDevice): string {
  const kind = device.label || device.displayName ? clientName(device.clientId) : undefined
  return [kind, device.platform, device.remoteIp].filter(Boolean).join(' · ') || 'Unknown platform'
}

/** The roles a device may still come back in. */
function rolesOf({ tokens = [], scopes = [], roles = [], role }: PairedDevice): string[] {
  const held = new Set(tokens.filter(({ revokedAtMs }) => revokedAtMs === undefined).map((token) => token.role))
  // Approved, but not yet back to fetch its token.
  if (held.size === 0 && scopes.length > 0) return roles.length > 0 ? roles : [role ?? 'operator']
  return [...held]
}

function scopes(device: PendingDevice | PairedDevice): TemplateResult {
  const roles = device.roles ?? (device.role ? [device.role] : [])
  const all = device.scopes ?? []
  // Full control covers the rest; listing the rest would hide it.
  const shown = all.includes('operator.admin') ? ['operator.admin'] : all
  return html`<div class="badges">
    ${roles.includes('node') ? html`<span class="badge">Node</span>` : nothing}
    ${shown.map((scope) => html`<span class=${scope === 'operator.admin' ? 'badge warn' : 'badge'}>${scopeName(scope)}</span>`)}
  </div>`
}

function selfWarning({ session }: Control, device: PairedDevice): string {
  return device.deviceId === session.deviceId ? 'This is the browser you are using: you will be signed out. ' : ''
}

customElements.define('ui-devices', DevicesPage)

/** The page as the shell shows it. */
export function render(control: Control): TemplateResult {
  return html`<ui-devices .control=${control}></ui-devices>`
}
