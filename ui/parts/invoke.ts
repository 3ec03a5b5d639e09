import { css, html, LitElement, nothing } from 'lit'
import type { NodeEntry } from '../../src/client/node-entry.ts'
import type { Control } from '../control.ts'
import { sentence } from '../format.ts'
import type { Invocation } from '../state/nodes.ts'
import { base } from './styles.ts'

/** More than a person reads; the end is what matters. */
const MAX_OUTPUT = 200_000

/** Asks a node for something, and shows what it prints as it comes. */
export class InvokeForm extends LitElement {
  static override properties = {
    control: { attribute: false },
    node: { attribute: false },
    command: { state: true },
    output: { state: true },
    outcome: { state: true },
    running: { state: true },
    waiting: { state: true }
  }
  static override styles = [
    base,
    css`
      form {
        display: grid;
        grid-template-columns: minmax(0, 14rem) minmax(0, 1fr) auto;
        gap: 0.6rem;
        padding-top: 0.9rem;
        border-top: 1px solid var(--line);
      }
      label {
        font-size: 0.82rem;
        color: var(--ink-soft);
      }
      select,
      input {
        width: 100%;
        min-height: 2.5rem;
        margin-top: 0.25rem;
        padding: 0 0.7rem;
        border: 1px solid var(--line-strong);
        border-radius: var(--radius-small);
        background: var(--surface);
        color: var(--ink);
        font: 1rem var(--font);
      }
      input {
        font-family: var(--mono);
        font-size: 0.93rem;
      }
      button {
        align-self: end;
      }
      pre {
        max-height: 22rem;
        margin: 0.8rem 0 0;
        padding: 0.8rem 1rem;
        border-radius: var(--radius-small);
        background: var(--sunken);
        border: 1px solid var(--line);
        font: 0.85rem/1.5 var(--mono);
        white-space: pre-wrap;
        overflow: auto;
        overflow-wrap: anywhere;
      }
      .outcome {
        margin-top: 0.5rem;
        font-size: 0.9rem;
      }
      .outcome.bad {
        color: var(--bad);
      }
      @media (max-width: 44rem) {
        form {
          grid-template-columns: minmax(0, 1fr);
        }
        input,
        select {
          font-size: 1rem;
        }
      }
    `
  ]
  declare control: Control
  declare node: NodeEntry
  declare command: string | undefined
  declare output: string
  declare outcome: { text: string; bad: boolean } | undefined
  declare running: Invocation | undefined
  /** A person has to allow it first. */
  declare waiting: boolean

  constructor() {
    super()
    this.output = ''
    this.waiting = false
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback()
    // Nobody is left to read what it prints.
    this.running?.cancel()
  }

  override render() {
    const { node, running } = this
    const offered = (node.commands ?? []).filter((command) => !hidden.has(command))
    const command = this.command ?? (offered.includes('system.run') ? 'system.run' : offered[0])
    const shell = command === 'system.run'
    return html`
      <form @submit=${(event: SubmitEvent) => this.#submit(event)}>
        <label
          >Command
          <select name="command" @change=${this.#pick} ?disabled=${running !== undefined}>
            ${offered.map((each) => html`<option ?selected=${each === command}>${each}</option>`)}
          </select></label
        >
        <label
          >${shell ? 'Command line' : 'Parameters, as JSON'}
          <input
            name="params"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            placeholder=${shell ? 'uname -a' : '{}'}
            ?disabled=${running !== undefined}
        /></label>
        ${
          running === undefined
            ? html`<button class="primary">Run</button>`
            : html`<button type="button" @click=${() => running.cancel()}>Stop</button>`
        }
      </form>
      ${this.output === '' ? nothing : html`<pre aria-label="Output" tabindex="0">${this.output}</pre>`}
      <p class=${this.outcome?.bad ? 'outcome bad' : 'outcome soft'} role="status">
        ${
          running === undefined
            ? (this.outcome?.text ?? nothing)
            : this.waiting
              ? 'The node’s policy asks a person first: somebody else has to allow it on the Approvals page.'
              : 'Running…'
        }
      </p>
    `
  }

  protected override updated(): void {
    const pre = this.renderRoot.querySelector('pre')
    if (this.running && pre) pre.scrollTop = pre.scrollHeight
  }

  #pick(event: Event): void {
    this.command = (event.target as HTMLSelectElement).value
  }

  async #submit(event: SubmitEvent): Promise<void> {
    event.preventDefault()
    const fields = new FormData(event.target as HTMLFormElement)
    const command = String(fields.get('command'))
    const text = String(fields.get('params') ?? '').trim()
    this.output = ''
    this.outcome = undefined
    this.waiting = false
    try {
      this.running = this.#start(command, text)
      const said = outcomeOf(await this.running.result)
      // What was streamed comes again at the end.
      if (this.output === '') this.output = said.output
      this.outcome = said
    } catch (error) {
      this.outcome = { text: sentence(error instanceof Error ? error.message : String(error)), bad: true }
    } finally {
      this.running = undefined
    }
  }

  #start(command: string, text: string): Invocation {
    const { nodes } = this.control
    const { nodeId } = this.node
    if (command !== 'system.run') return nodes.invoke(nodeId, command, paramsOf(text))
    if (text === '') throw new Error('Type a command line to run.')
    return nodes.run(nodeId, ['sh', '-c', text], {
      onChunk: (chunk) => {
        this.waiting = false
        this.output = (this.output + chunk).slice(-MAX_OUTPUT)
      },
      onWait: () => {
        this.waiting = true
      }
    })
  }
}

/** What other pages are for, or what only makes sense between programs. */
const hidden = new Set(['system.run.prepare', 'system.execApprovals.get', 'system.execApprovals.set'])

function paramsOf(text: string): unknown {
  try {
    return text === '' ? {} : JSON.parse(text)
  } catch (error) {
    throw new Error(`Parameters must be JSON: ${(error as Error).message}`)
  }
}

interface RunResult {
  exitCode?: number | null
  timedOut?: boolean
  stdout?: string
  stderr?: string
}

function outcomeOf(payload: unknown): { text: string; bad: boolean; output: string } {
  const run = payload as RunResult | null
  if (typeof run === 'object' && run !== null && ('exitCode' in run || 'timedOut' in run)) {
    const output = [run.stdout, run.stderr].filter(Boolean).join('\n')
    if (run.timedOut) return { text: 'It took too long and was stopped.', bad: true, output }
    const code = run.exitCode ?? undefined
    return { text: code === undefined ? 'It was stopped.' : `Ended with exit code ${code}.`, bad: code !== 0, output }
  }
  return { text: 'Done.', bad: false, output: payload === undefined ? '' : JSON.stringify(payload, null, 2) }
}

customElements.define('ui-invoke', InvokeForm)
