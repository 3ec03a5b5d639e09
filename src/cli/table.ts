import type { Io } from './io.ts'
import { printable, styleOf } from './output.ts'

/** One column of a table for a person. */
export interface Column<T> {
  title: string
  /** The most characters it takes; the rest of a longer text is cut. The last column may go without. */
  max?: number
  text(row: T): string
  paint?(row: T): (text: string) => string
}

/**
 * Lays rows out in columns as wide as these rows need; without rows, because they are still to come, as wide as a column
 * may be.
 */
export function tableLayout<T>(
  io: Pick<Io, 'color'>,
  columns: readonly Column<T>[],
  rows?: readonly T[]
): { head: string; line(row: T): string } {
  const cell = ({ text, max }: Column<T>, row: T): string => clip(printable(text(row)).replaceAll('\n', ' '), max)
  const widths = columns.map((column) => {
    if (rows === undefined) return column.max ?? column.title.length
    return Math.max(column.title.length, ...rows.map((row) => [...cell(column, row)].length))
  })
  // Nothing is painted before it is padded: escapes have no width.
  const join = (cells: readonly string[], paint: (index: number) => (text: string) => string): string =>
    cells
      .map((text, index) => paint(index)(index === cells.length - 1 ? text : pad(text, widths[index]!)))
      .join('  ')
      .trimEnd()
  const style = styleOf(io)
  return {
    head: join(
      columns.map(({ title }) => title),
      () => style.dim
    ),
    line: (row) =>
      join(
        columns.map((column) => cell(column, row)),
        (index) => columns[index]?.paint?.(row) ?? String
      )
  }
}

/** A moment in local time, `2026-11-25 13:45:07`. */
export function formatMoment(ts: number): string {
  const local = new Date(ts - new Date(ts).getTimezoneOffset() * 60_000)
  return local.toISOString().slice(0, 19).replace('T', ' ')
}

function clip(text: string, max = Number.POSITIVE_INFINITY): string {
  const characters = [...text]
  return characters.length <= max ? text : `${characters.slice(0, max - 1).join('')}…`
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - [...text].length))
}
