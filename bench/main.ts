import { parseArgs } from 'node:util'
import { budgets, type Effort, type Row } from './budgets.ts'
import { buildIfStale } from './processes.ts'

const full: Effort = { rounds: 9, seconds: 1, idle: 5000, fan: 1000, settleMs: 3000, smoke: false }
const smoke: Effort = { rounds: 1, seconds: 0.2, idle: 50, fan: 50, settleMs: 100, smoke: true }

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] }
  }
})

const chosen = budgets.filter(({ name }) => values.only.length === 0 || values.only.includes(name))
const unknown = values.only.filter((name) => !budgets.some((budget) => budget.name === name))
if (unknown.length > 0) {
  console.error(`error: no budget ${unknown.join(', ')}; there are ${budgets.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

buildIfStale()
const rows: Row[] = []
for (const budget of chosen) rows.push(...(await budget.run(values.smoke ? smoke : full)))
// The smoke run shows that every budget can be measured; its figures mean nothing.
if (values.smoke) for (const row of rows) row.pass = undefined

if (values.json) console.log(JSON.stringify(rows, null, 2))
else print(rows)
if (rows.some(({ pass }) => pass === false)) process.exitCode = 1

function print(rows: readonly Row[]): void {
  const verdict = (pass: boolean | undefined): string => (pass === undefined ? '-' : pass ? 'pass' : 'FAIL')
  const table = [
    ['what', 'ours', 'baseline', 'ratio', 'bar', ''],
    ...rows.map(({ what, ours, baseline, ratio, bar, pass }) => [what, ours, baseline, ratio, bar, verdict(pass)])
  ]
  const widths = table[0]!.map((_, column) => Math.max(...table.map((cells) => cells[column]!.length)))
  for (const cells of table)
    console.log(
      cells
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd()
    )
}
