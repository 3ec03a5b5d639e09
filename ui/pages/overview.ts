import { css, html, nothing, type TemplateResult } from 'lit'
import type { PresenceEntry } from '../../src/protocol/frames.ts'
import type { Control } from '../control.ts'
import { clientName, duration, megabytes, milliseconds, userWords } from '../format.ts'
import { LineChart, type Point } from '../parts/chart.ts'
import { clientIcon, icon } from '../parts/icon.ts'
import { base } from '../parts/styles.ts'
import { View } from '../view.ts'
import './reach.ts'

const FLOOR_MS = 10

/** How the gateway is, who is connected, and from where it can be reached. */
export class OverviewPage extends View {
  static override styles = [
    base,
    css`
      header {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0.4rem 1rem;
        margin-bottom: 1.5rem;
      }
      .notice {
        margin-bottom: 1rem;
      }
      .grid {
        display: grid;
        grid-template-columns: repeat(4, minmax(0, 1fr));
        gap: 1rem;
      }
      .tile {
        padding: 1.1rem 1.25rem;
        min-width: 0;
      }
      .tile h2,
      .chart h2 {
        color: var(--ink-soft);
        font-size: 0.87rem;
        font-weight: 500;
      }
      .figure {
        margin-top: 0.3rem;
        font-size: 1.6rem;
        font-weight: 600;
        letter-spacing: -0.025em;
        line-height: 1.25;
        font-variant-numeric: tabular-nums;
        overflow-wrap: anywhere;
      }
      .figure small {
        font-size: 0.95rem;
        font-weight: 500;
        letter-spacing: 0;
        color: var(--ink-soft);
      }
      .chart {
        grid-column: 1 / -1;
        padding: 1.25rem;
      }
      .chart .head {
        display: flex;
        flex-wrap: wrap;
        align-items: baseline;
        justify-content: space-between;
        gap: 0 1rem;
        margin-bottom: 1rem;
      }
      .plot {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 0.25rem 0.6rem;
      }
      .scale {
        display: flex;
        flex-direction: column;
        justify-content: space-between;
        margin: -0.5em 0;
        font-size: 0.8rem;
        color: var(--ink-faint);
        font-variant-numeric: tabular-nums;
        text-align: right;
      }
      .span {
        display: flex;
        justify-content: space-between;
        font-size: 0.8rem;
        color: var(--ink-faint);
      }
      .half {
        grid-column: span 2;
        padding: 1.25rem;
        min-width: 0;
      }
      .half h2 {
        margin-bottom: 0.9rem;
      }
      .client {
        display: flex;
        align-items: center;
        gap: 0.8rem;
        padding: 0.65rem 0;
        border-top: 1px solid var(--line);
      }
      .client:first-child {
        border-top: 0;
        padding-top: 0;
      }
      .client .who {
        flex: 1;
        min-width: 0;
      }
      .client .name {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 0 0.5rem;
        font-weight: 600;
        overflow-wrap: anywhere;
      }
      .glyph {
        display: grid;
        place-items: center;
        flex: none;
        width: 2.25rem;
        height: 2.25rem;
        border-radius: var(--radius-small);
        background: var(--sunken);
        color: var(--ink-soft);
      }
      @media (max-width: 60rem) {
        .grid {
          grid-template-columns: repeat(2, minmax(0, 1fr));
        }
      }
      @media (max-width: 34rem) {
        .grid {
          gap: 0.75rem;
        }
        .half {
          grid-column: 1 / -1;
        }
        .tile {
          padding: 0.9rem 1rem;
        }
        .figure {
          font-size: 1.35rem;
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
    const { health, startedAt } = monitor
    // A gateway that nobody hears from may be down: its clock stands.
    const now = session.phase.name === 'open' ? Date.now() : (monitor.samples.at(-1)?.at ?? Date.now())
    const memory = health.memory?.rssBytes === undefined ? undefined : megabytes(health.memory.rssBytes)
    const heap = health.memory?.heapUsedBytes
    const here = monitor.presence.filter(isClient)
    const nodes = here.filter(({ roles }) => roles?.includes('node')).length
    return html`
      <header>
        <h1>Overview</h1>
        ${this.#verdict()}
      </header>
      ${(health.warnings ?? []).map((each) => html`<p class="notice warn">${each}</p>`)}
      <div class="grid">
        ${tile(
          'Uptime',
          startedAt === undefined ? '–' : duration(now - startedAt),
          startedAt === undefined ? '' : `since ${moment(startedAt)}`
        )}
        ${tile('Version', session.hello?.server.version ?? '–', `protocol ${session.hello?.protocol ?? '–'}`)}
        ${tile(
          'Memory',
          memory ? html`${memory.value} <small>${memory.unit}</small>` : '–',
          heap === undefined ? '' : `${megabytes(heap).value} ${megabytes(heap).unit} heap`
        )}
        ${tile('Connected', here.length, `${count(here.length - nodes, 'operator')}, ${count(nodes, 'node')}`)}
        ${this.#delay()}
        <section class="card half" aria-labelledby="reach">
          <h2 id="reach">Reach and access</h2>
          <ui-reach .control=${this.control}></ui-reach>
        </section>
        <section class="card half" aria-labelledby="clients">
          <h2 id="clients">Connected clients</h2>
          ${
            here.length === 0
              ? html`<p class="soft">Nobody else is here.</p>`
              : html`<ul>
                  ${here.map((entry) => this.#client(entry))}
                </ul>`
          }
        </section>
      </div>
    `
  }

  #verdict(): TemplateResult {
    const { health } = this.control.monitor
    if (this.control.session.phase.name !== 'open') {
      return html`<span class="badge"><span class="dot"></span>Last known state</span>`
    }
    if (health.eventLoop?.degraded) {
      return html`<span class="badge warn"><span class="dot warn"></span>Slow to respond</span>`
    }
    if (health.ok === false) return html`<span class="badge warn"><span class="dot warn"></span>Stopping</span>`
    return html`<span class="badge accent"><span class="dot good"></span>Healthy</span>`
  }

  #delay(): TemplateResult {
    const { samples, health } = this.control.monitor
    const points: Point[] = samples.flatMap(({ at, delayMs }) =>
      delayMs === undefined ? [] : [{ at, value: delayMs }]
    )
    const { delayP99Ms, delayMaxMs, utilization } = health.eventLoop ?? {}
    const top = LineChart.ceiling(points, FLOOR_MS)
    const span = LineChart.span(points)
    return html`<section class="card chart" aria-labelledby="delay">
      <div class="head">
        <div>
          <h2 id="delay">Event-loop delay</h2>
          <p class="figure">${delayP99Ms === undefined ? '–' : milliseconds(delayP99Ms)} <small>ms, 99th percentile</small></p>
        </div>
        <p class="faint">
          ${delayMaxMs === undefined ? nothing : html`longest ${milliseconds(delayMaxMs)} ms`}
          ${utilization === undefined ? nothing : html` · ${(utilization * 100).toFixed(utilization < 0.1 ? 1 : 0)} % busy`}
        </p>
      </div>
      <div class="plot">
        <ui-chart
          .points=${points}
          floor=${FLOOR_MS}
          height="132"
          label=${`Event-loop delay over the last ${duration(span)}, now ${delayP99Ms === undefined ? 'unknown' : `${milliseconds(delayP99Ms)} ms`}`}
        ></ui-chart>
        <div class="scale" aria-hidden="true"><span>${top} ms</span><span>${top / 2}</span><span>0</span></div>
        <div class="span" aria-hidden="true"><span>${duration(span)} ago</span><span>now</span></div>
      </div>
    </section>`
  }

  #client(entry: PresenceEntry): TemplateResult {
    const mine = entry.deviceId !== undefined && entry.deviceId === this.control.session.deviceId
    const kind = entry.clientId === undefined ? undefined : clientName(entry.clientId)
    const name = entry.host ?? kind ?? entry.text ?? 'Client'
    // Who it is comes from a front end that was believed; what it is called, from the client itself.
    const facts = [
      entry.user ? name : undefined,
      entry.host ? kind : undefined,
      entry.platform,
      entry.ip,
      entry.version === 'bundled' ? undefined : entry.version
    ]
    return html`<li class="client">
      <span class="glyph">${icon(clientIcon(entry.clientId, entry.platform))}</span>
      <div class="who">
        <div class="name">
          ${entry.user ? userWords(entry.user) : name} ${mine ? html`<span class="badge accent">This browser</span>` : nothing}
        </div>
        <div class="faint">${facts.filter(Boolean).join(' · ')}</div>
      </div>
      <span class="faint">${duration(Date.now() - (entry.onlineSince ?? entry.ts))}</span>
    </li>`
  }
}

function isClient({ reason, onlineSince }: PresenceEntry): boolean {
  return reason === 'connect' || (onlineSince !== undefined && reason !== 'disconnect')
}

function tile(title: string, value: unknown, note: string): TemplateResult {
  return html`<section class="card tile">
    <h2>${title}</h2>
    <p class="figure">${value}</p>
    <p class="faint">${note || html`&nbsp;`}</p>
  </section>`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

function moment(ts: number): string {
  const sameDay = new Date(ts).toDateString() === new Date().toDateString()
  return new Intl.DateTimeFormat(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    ...(sameDay ? {} : { day: 'numeric', month: 'short' })
  }).format(ts)
}

customElements.define('ui-overview', OverviewPage)

/** The page as the shell shows it. */
export function render(control: Control): TemplateResult {
  return html`<ui-overview .control=${control}></ui-overview>`
}
