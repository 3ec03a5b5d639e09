import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import type { HostStats } from '../../src/client/node-entry.ts'
import { megabytes } from '../format.ts'
import type { LoadSample } from '../state/nodes.ts'
import type { Point } from './chart.ts'
import './chart.ts'
import { base } from './styles.ts'

/** How a node's machine fares: its load and memory through time, and how full its disk is. */
export class HostLoad extends LitElement {
  static override properties = { stats: { attribute: false }, samples: { attribute: false } }
  static override styles = [
    base,
    css`
      .grid {
        display: grid;
        grid-template-columns: repeat(3, minmax(0, 1fr));
        gap: 1.25rem;
      }
      .head {
        display: flex;
        justify-content: space-between;
        gap: 0.5rem;
        margin-bottom: 0.35rem;
        font-size: 0.82rem;
        color: var(--ink-soft);
      }
      .head strong {
        color: var(--ink);
        font-weight: 600;
        font-variant-numeric: tabular-nums;
      }
      .bar {
        display: block;
        width: 100%;
        height: 0.5rem;
        margin-top: 1rem;
        border-radius: 99px;
        background: var(--sunken);
      }
      .bar rect {
        fill: var(--accent);
      }
      @media (max-width: 34rem) {
        .grid {
          grid-template-columns: minmax(0, 1fr);
          gap: 0.75rem;
        }
        .bar {
          margin-top: 0;
        }
      }
    `
  ]
  declare stats: HostStats
  declare samples: LoadSample[]

  override render() {
    const { cpuCount, loadAverage, memoryTotalBytes, memoryFreeBytes, diskTotalBytes, diskAvailableBytes } = this.stats
    const load = loadAverage && cpuCount ? loadAverage[0] / cpuCount : undefined
    const memory = used(memoryTotalBytes, memoryFreeBytes)
    const disk = used(diskTotalBytes, diskAvailableBytes)
    return html`<div class="grid">
      ${load === undefined ? nothing : this.#line('Load', load, `${cpuCount} cores`, ({ cpu }) => cpu)}
      ${memory === undefined ? nothing : this.#line('Memory', memory, size(memoryTotalBytes!), (sample) => sample.memory)}
      ${
        disk === undefined
          ? nothing
          : html`<div>
              ${head('Disk', disk, size(diskTotalBytes!))}
              <svg class="bar" aria-hidden="true" viewBox="0 0 100 8" preserveAspectRatio="none">
                <rect width=${disk * 100} height="8" />
              </svg>
            </div>`
      }
    </div>`
  }

  #line(title: string, now: number, of: string, pick: (sample: LoadSample) => number | undefined): TemplateResult {
    const points: Point[] = this.samples.flatMap((sample) => {
      const value = pick(sample)
      return value === undefined ? [] : [{ at: sample.at, value }]
    })
    return html`<div>
      ${head(title, now, of)}
      <ui-chart .points=${points} .floor=${1} .gapMs=${GAP_MS} height="36" label=${`${title}: ${percent(now)} of ${of}`}></ui-chart>
    </div>`
  }
}

/** A node tells once a minute; a connection that is lost loses two of those. */
const GAP_MS = 150_000

function head(title: string, share: number, of: string): TemplateResult {
  return html`<div class="head"><span>${title}</span><span><strong>${percent(share)}</strong> of ${of}</span></div>`
}

function used(total: number | undefined, free: number | undefined): number | undefined {
  return total && free !== undefined ? 1 - free / total : undefined
}

function percent(share: number): string {
  return `${Math.round(share * 100)}\u00a0%`
}

function size(bytes: number): string {
  const { value, unit } = megabytes(bytes)
  return `${unit === 'GB' ? Math.round(Number(value)) : value}\u00a0${unit}`
}

customElements.define('ui-host-load', HostLoad)
