import fc from 'fast-check'
import t from 'tap'
import { jsonFault } from '../../src/protocol/json-fault.ts'

const broken: readonly [text: string, line: number, column: number][] = [
  ['', 1, 1],
  [' \n ', 2, 2],
  ['{"a":', 1, 6],
  ['{x}', 1, 2],
  ['[1,]', 1, 4],
  ['[1 2]', 1, 4],
  ['{"a" 1}', 1, 6],
  ['{"a":1,}', 1, 8],
  ['{"a":1]', 1, 7],
  ['[1}', 1, 3],
  ['1 1', 1, 3],
  ['}', 1, 1],
  ['secret', 1, 1],
  ['{\n  "a": 1,\n  "b": secret\n}', 3, 8],
  ['"open', 1, 6],
  ['"\\x"', 1, 3],
  ['"\\u12"', 1, 3],
  ['"line\nbreak"', 1, 6],
  ['01', 1, 2],
  ['-', 1, 1],
  ["{'a':1}", 1, 2],
  ['[undefined]', 1, 2],
  ['\ufeff{}', 1, 1],
  ['nul', 1, 1]
]

t.test('names the place where a text stops being JSON', async (t) => {
  for (const [text, line, column] of broken) {
    t.throws(() => JSON.parse(text), SyntaxError, JSON.stringify(text))
    t.match(jsonFault(text), { line, column }, `${line}:${column}`)
  }
})

t.test('finds nothing wrong with JSON, and something with everything else', async (t) => {
  const almost = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '}', '"', '\\', '\u0001', '0', 'e', ' '))
    .map(([text, at, put]) => text.slice(0, at % (text.length + 1)) + put + text.slice((at % (text.length + 1)) + 1))
  const some = fc.oneof(fc.json(), almost, fc.string({ maxLength: 30, unit: 'binary' }))
  fc.assert(
    fc.property(some, (text) => {
      const fault = jsonFault(text)
      try {
        JSON.parse(text)
        return fault === undefined
      } catch (error) {
        // Where the engine tells a place in the text it is the same one, but for what it finds inside a word.
        const place = / at position (\d+)/.exec((error as Error).message)?.[1]
        return fault !== undefined && (place === undefined || Math.abs(fault.position - Number(place)) <= 6)
      }
    }),
    { numRuns: 20_000, seed: 3 }
  )
  t.pass('20,000 texts')
})

t.test('two megabytes take no time worth naming', async (t) => {
  for (const text of ['['.repeat(2_000_000), `"${'x'.repeat(2_000_000)}`, `[${'1,'.repeat(1_000_000)}`]) {
    const started = performance.now()
    t.ok(jsonFault(text)?.end)
    t.ok(performance.now() - started < 1_000)
  }
})
