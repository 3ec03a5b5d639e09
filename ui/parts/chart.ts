import { css, html, LitElement, nothing, svg } from 'lit'

/** One point of a chart. */
export interface Point {
  at: number
  value: number
}

const WIDTH = 600
const SHORTEST_MS = 30_000
const LONGEST_MS = 10 * 60_000

/** A line through time, drawn to the width at hand. Gaps stay gaps. */
export class LineChart extends LitElement {
  static override properties = {
    points: { attribute: false },
    floor: { type: Number },
    gapMs: { type: Number },
    label: {},
    height: { type: Number }
  }
  static override styles = css`
    :host {
      display: block;
    }
    svg {
      display: block;
      width: 100%;
      overflow: visible;
    }
    .area {
      fill: var(--accent);
      opacity: 0.11;
    }
    .line {
      fill: none;
      stroke: var(--accent);
      stroke-width: 2;
      stroke-linejoin: round;
      stroke-linecap: round;
      vector-effect: non-scaling-stroke;
    }
    .rule {
      stroke: var(--line);
      stroke-width: 1;
      vector-effect: non-scaling-stroke;
    }
  `
  declare points: Point[]
  /** The least value at the top of the chart, so that noise near zero looks like calm. */
  declare floor: number
  /** Points further apart than this are not joined. */
  declare gapMs: number
  declare label: string
  declare height: number

  constructor() {
    super()
    this.points = []
    this.floor = 0
    this.gapMs = 15_000
    this.height = 120
  }

  /** How much time a chart of these points covers. */
  static span(points: Point[]): number {
    const span = (points.at(-1)?.at ?? 0) - (points[0]?.at ?? 0)
    return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, span))
  }

  /** The value at the top of the chart. */
  static ceiling(points: Point[], floor: number): number {
    const highest = Math.max(floor, ...points.map(({ value }) => value * 1.15))
    const step = 10 ** Math.floor(Math.log10(highest || 1))
    return Math.ceil(highest / step) * step
  }

  override render() {
    const { height } = this
    const end = this.points.at(-1)?.at ?? 0
    const start = end - LineChart.span(this.points)
    const points = this.points.filter(({ at }) => at >= start)
    const top = LineChart.ceiling(points, this.floor)
    const x = (at: number) => (((at - start) / (end - start)) * WIDTH).toFixed(1)
    const y = (value: number) => (height - 1 - (Math.min(value, top) / top) * (height - 2)).toFixed(1)
    return html`<svg role="img" aria-label=${this.label} viewBox="0 0 ${WIDTH} ${height}" height=${height} preserveAspectRatio="none">
      ${[0, 0.5, 1].map((part) => svg`<line class="rule" x1="0" x2=${WIDTH} y1=${y(top * part)} y2=${y(top * part)} />`)}
      ${
        points.length < 2
          ? nothing
          : runs(points, this.gapMs).map((run) => {
              const line = run.map(({ at, value }) => `${x(at)},${y(value)}`).join(' ')
              const area = `${x(run[0]!.at)},${height} ${line} ${x(run.at(-1)!.at)},${height}`
              return svg`<polygon class="area" points=${area} /><polyline class="line" points=${line} />`
            })
      }
    </svg>`
  }
}

/** Cuts a series where the gateway could not be asked. */
function runs(points: Point[], gapMs: number): Point[][] {
  const result: Point[][] = []
  let last: Point | undefined
  for (const point of points) {
    if (!last || point.at - last.at > gapMs) result.push([])
    result.at(-1)!.push(point)
    last = point
  }
  return result
}

customElements.define('ui-chart', LineChart)
