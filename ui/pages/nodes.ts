import { css, html, nothing, type TemplateResult } from 'lit'
import type { Control } from '../control.ts'
import { ago, commandName, deviceName, shortId } from '../format.ts'
import type { AskDialog, Question } from '../parts/dialog.ts'
import '../parts/dialog.ts'
import '../parts/host-load.ts'
import { clientIcon, icon } from '../parts/icon.ts'
import '../parts/invoke.ts'
import type { NodeEntry, NodeRequest } from '../../src/client/node-entry.ts'
import { rows } from '../parts/rows.ts'
import { base } from '../parts/styles.ts'
import { View } from '../view.ts'

/** The machines that lend their hands: what each may be asked, how it fares, and a way to ask. */
export class NodesPage extends View {
  static override properties = { ...View.properties, open: { state: true } }
  static override styles = [
    base,
    rows,
    css`
      .pending .row {
        align-items: start;
      }
      .grants {
        display: grid;
        gap: 0.15rem;
        margin-top: 0.6rem;
        font-size: 0.93rem;
      }
      .grants code {
        font-family: var(--mono);
        font-size: 0.85em;
        color: var(--ink-soft);
      }
      .grants li {
        overflow-wrap: anywhere;
      }
      .wide {
        margin-top: 0.6rem;
      }
    `
  ]
  /** The node whose commands are shown. */
  declare open: string | undefined

  protected override watches() {
    return [this.control.nodes, this.control.session]
  }

  protected override get ticking() {
    return true
  }

  override render() {
    const { nodes } = this.control
    return html`
      <header>
        <div>
          <h1>Nodes</h1>
          <p class="soft">Machines that lend their camera, screen or shell. Each does only what you have approved.</p>
        </div>
      </header>
      ${nodes.allowed ? this.#lists() : html`<p class="notice">This session may not see nodes.</p>`}
      <ui-dialog></ui-dialog>
    `
  }

  #lists(): TemplateResult {
    const { pending, nodes, loaded, error } = this.control.nodes
    const byName = [...nodes].sort(
      (a, b) =>
        Number(b.connected ?? false) - Number(a.connected ?? false) || deviceName(a).localeCompare(deviceName(b))
    )
    return html`
      ${error ? html`<p class="notice bad" role="alert">${error}</p>` : nothing}
      ${
        pending.length === 0
          ? nothing
          : html`<section aria-labelledby="pending">
              <h2 id="pending">Waiting for you</h2>
              <ul class="card pending">
                ${pending.map((request) => this.#pending(request))}
              </ul>
            </section>`
      }
      <section aria-labelledby="nodes">
        <h2 id="nodes">${nodes.filter(({ connected }) => connected).length} of ${nodes.length} connected</h2>
        <ul class="card">
          ${
            nodes.length > 0
              ? byName.map((node) => this.#node(node))
              : html`<li class="empty">
                  ${loaded ? html`No node is paired yet. On the machine that is to be one, run <code class="mono">openclaw node run</code>.` : 'Loading…'}
                </li>`
          }
        </ul>
      </section>
    `
  }

  #pending(request: NodeRequest): TemplateResult {
    const name = deviceName(request)
    const may = this.control.nodes.mayApprove(request)
    const { commands = [], caps = [] } = request
    return html`<li class="row">
      <span class="glyph">${icon(clientIcon(request.clientId, request.platform), 22)}</span>
      <div>
        <div class="name">
          ${name}
          ${request.requiredApproveScopes?.includes('operator.admin') ? html`<span class="badge warn">Reaches into the machine</span>` : nothing}
        </div>
        <div class="faint facts">
          ${[request.platform, request.remoteIp].filter(Boolean).join(' · ')} · asked ${ago(request.ts)} · key&nbsp;<span class="mono">${shortId(request.nodeId)}</span>
        </div>
        <ul class="grants" aria-label="What approval would allow">
          ${
            commands.length + caps.length === 0
              ? html`<li>Nothing but being connected</li>`
              : commands.map((command) => html`<li>${commandName(command)} <code>${command}</code></li>`)
          }
        </ul>
        ${caps.length === 0 ? nothing : html`<div class="badges">${caps.map((cap) => html`<span class="badge">${cap}</span>`)}</div>`}
      </div>
      <div class="actions">
        <button class="small" @click=${() => this.#reject(request)} aria-label=${`Reject ${name}`}>Reject</button>
        <button
          class="small primary"
          ?disabled=${!may}
          title=${may ? nothing : 'Only a session with full control may approve this.'}
          @click=${() => this.#approve(request)}
          aria-label=${`Approve ${name}`}
        >
          Approve
        </button>
      </div>
    </li>`
  }

  #node(node: NodeEntry): TemplateResult {
    const { nodes, session } = this.control
    const name = deviceName(node)
    const { connected = false, commands = [], caps = [], approvalState, nodeId } = node
    const open = this.open === nodeId
    const usable = connected && commands.length > 0 && session.can('operator.write')
    return html`<li class="row">
      <span class="glyph">${icon(clientIcon(node.clientId, node.platform), 22)}</span>
      <div>
        <div class="name">
          ${name}
          ${approvalState === 'pending-approval' ? html`<span class="badge warn">Not approved yet</span>` : nothing}
          ${approvalState === 'pending-reapproval' ? html`<span class="badge warn">Wants more</span>` : nothing}
        </div>
        <div class="faint facts">
          ${facts(node)} ·
          ${
            connected
              ? html`<span class="on">connected</span>`
              : node.lastSeenAtMs === undefined
                ? 'never seen'
                : `seen ${ago(node.lastSeenAtMs)}`
          }
          · key&nbsp;<span class="mono">${shortId(nodeId)}</span>
        </div>
        <div class="badges">
          ${caps.map((cap) => html`<span class="badge">${cap}</span>`)}
          ${commands.length === 0 ? nothing : html`<span class="badge">${commands.length} commands</span>`}
        </div>
      </div>
      <div class="actions">
        ${
          usable
            ? html`<button
                class="small"
                aria-expanded=${open}
                @click=${() => {
                  this.open = open ? undefined : nodeId
                }}
                aria-label=${`Run a command on ${name}`}
              >
                ${icon('terminal', 16)} Run
              </button>`
            : nothing
        }
        ${
          nodes.mayDecide
            ? html`<button class="small quiet" @click=${() => this.#rename(node)} aria-label=${`Rename ${name}`}>Rename</button>
                <button class="small quiet bad" @click=${() => this.#remove(node)} aria-label=${`Remove ${name}`}>Remove</button>`
            : nothing
        }
      </div>
      ${
        connected && node.hostStats
          ? html`<ui-host-load class="wide" .stats=${node.hostStats} .samples=${nodes.samples.get(nodeId) ?? []}></ui-host-load>`
          : nothing
      }
      ${open && usable ? html`<ui-invoke class="wide" .control=${this.control} .node=${node}></ui-invoke>` : nothing}
    </li>`
  }

  #approve(request: NodeRequest): void {
    const wide = request.requiredApproveScopes?.includes('operator.admin')
    this.#ask({
      title: `Approve ${deviceName(request)}?`,
      text: wide
        ? 'Whoever controls this gateway can then run programs and read on that machine, as far as its own policy lets them.'
        : 'It may then be asked for what is listed, until you remove it.',
      confirm: 'Approve',
      run: () => this.control.nodes.approve(request.requestId)
    })
  }

  #reject(request: NodeRequest): void {
    this.#ask({
      title: `Turn ${deviceName(request)} down?`,
      text: 'It stays connected and can be asked for nothing new. It may ask again.',
      confirm: 'Reject',
      danger: true,
      run: () => this.control.nodes.reject(request.requestId)
    })
  }

  #rename(node: NodeEntry): void {
    this.#ask({
      title: 'Rename node',
      text: 'A name that you will recognise later, and call it by.',
      confirm: 'Save',
      input: { label: 'Name', value: deviceName(node), maxLength: 64 },
      run: (name) => this.control.nodes.rename(node.nodeId, name)
    })
  }

  #remove(node: NodeEntry): void {
    this.#ask({
      title: `Remove ${deviceName(node)}?`,
      text: 'It is disconnected at once, and what waits for it is dropped. To come back it has to be approved again.',
      confirm: 'Remove',
      danger: true,
      run: () => this.control.nodes.remove(node.nodeId)
    })
  }

  #ask(question: Question): void {
    void this.renderRoot.querySelector<AskDialog>('ui-dialog')?.ask(question)
  }
}

function facts({ platform, modelIdentifier, deviceFamily, version, remoteIp }: NodeEntry): string {
  const model = modelIdentifier ?? deviceFamily
  const known = model?.toLowerCase() === platform?.toLowerCase() ? undefined : model
  return [platform, known, version, remoteIp].filter(Boolean).join(' · ')
}

customElements.define('ui-nodes', NodesPage)

/** The page as the shell shows it. */
export function render(control: Control): TemplateResult {
  return html`<ui-nodes .control=${control}></ui-nodes>`
}
