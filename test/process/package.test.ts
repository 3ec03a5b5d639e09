import { execFile } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { tempDir } from '../support/gateway.ts'

const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)
// The test runner puts what it loads into its own processes into NODE_OPTIONS of every other; TypeScript cannot bear it.
const node = (args: string[], cwd: string) =>
  run('env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], { cwd, maxBuffer: 1 << 24 })
const VITE = join(root, 'node_modules/vite/bin/vite.js')
const TSC = join(root, 'node_modules/typescript/bin/tsc')

t.setTimeout(110_000)

t.test('the published package is what its manifest says', async (t) => {
  const dir = tempDir(t)
  const home = join(dir, 'node_modules/openclaw-gateway')
  mkdirSync(home, { recursive: true })
  await Promise.all([
    node([VITE, 'build', '--outDir', join(home, 'dist'), '--emptyOutDir', '--logLevel', 'error'], root),
    node([TSC, '-p', 'tsconfig.build.json', '--outDir', join(home, 'types')], root)
  ])
  cpSync(join(home, 'types'), join(home, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(home, 'package.json'))
  const { exports, bin } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
  for (const name of ['ws', 'typebox', '@types', 'undici-types']) {
    mkdirSync(join(dir, 'node_modules'), { recursive: true })
    const from = join(root, 'node_modules', name)
    if (existsSync(from)) symlinkSync(from, join(dir, 'node_modules', name))
  }

  t.test('every file that it names is there, types before code', async (t) => {
    const files = [...leaves(exports), ...leaves(bin)]
    t.ok(files.length >= 7)
    for (const file of files) t.ok(existsSync(join(home, file)), file)
    t.same(Object.keys(exports['./client']), ['browser', 'types', 'default'])
    for (const group of [exports['.'], exports['./client'].browser]) t.same(Object.keys(group), ['types', 'default'])
  })

  t.test('every page that its README leads to is published', async (t) => {
    const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const pages = [...readme.matchAll(/\]\((docs\/[^)#]+)/g)].map(([, page]) => page!)
    t.ok(pages.length > 5)
    for (const page of pages) t.ok(existsSync(join(root, page)) && files.includes('docs'), page)
  })

  t.test('Node imports the client, and nothing of a server', async (t) => {
    writeFileSync(
      join(dir, 'app.mjs'),
      `import * as client from 'openclaw-gateway/client'
      console.log(Object.keys(client).sort().join(' '))
      try { client.nodeClient({ url: 'ws://8.8.8.8' }, {}) } catch (error) { console.log(error.code) }`
    )
    const { stdout } = await node(['app.mjs'], dir)
    t.match(stdout, /\bClientError\b.*\bGatewayClient\b.*\bconnectConfigured\b.*\bnodeClient\b/)
    t.match(stdout, 'URL_INSECURE')
    t.notMatch(reached(join(home, 'dist/client/index.js')), /from "fastify"/)
  })

  t.test('the browser’s entry needs nothing of Node', async (t) => {
    const code = reached(join(home, 'dist/client/browser.js'))
    t.match(code, 'WebSocket')
    t.notMatch(code, /from ?["'](node:|ws["'])|process\.|Buffer\./)
  })

  t.test('a program compiles against its types, in Node’s way and in a bundler’s', async (t) => {
    writeFileSync(
      join(dir, 'app.ts'),
      `import { nodeClient, type GatewayClient } from 'openclaw-gateway/client'
      const client: GatewayClient = nodeClient({ url: 'ws://127.0.0.1:1' }, {
        client: { id: 'cli', mode: 'cli', version: '1', platform: 'x' }
      })
      export const lines: Promise<string[]> = client.request('logs.tail', { limit: 1 }).then(({ lines }) => lines)
      export const mine: Promise<{ a: 1 }> = client.request<{ a: 1 }>('other.method')
      // @ts-expect-error: the answer of a known method is typed
      export const wrong: Promise<number> = client.request('logs.tail', { limit: 1 })`
    )
    writeFileSync(
      join(dir, 'page.ts'),
      `import { browserClient } from 'openclaw-gateway/client'
      export const client = browserClient('wss://gateway.example', { client: { id: 'webchat', mode: 'webchat', version: '1', platform: 'web' } })`
    )
    const strict = ['--noEmit', '--strict', '--target', 'es2024', '--lib', 'es2024,dom', '--types', 'node']
    const rows = [
      ['--module', 'nodenext', 'app.ts'],
      ['--module', 'esnext', '--moduleResolution', 'bundler', 'app.ts'],
      ['--module', 'esnext', '--moduleResolution', 'bundler', '--customConditions', 'browser', 'page.ts']
    ]
    for (const args of rows) {
      const failure = await node([TSC, ...strict, ...args], dir).then(
        () => '',
        (error: { stdout: string }) => error.stdout
      )
      t.equal(failure, '', args.join(' '))
    }
  })
})

/** The files that a part of the manifest names. */
function leaves(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(leaves) : []
}

/** The text of a built file with everything that it imports, now or later. */
function reached(file: string, seen = new Set<string>()): string {
  if (seen.has(file) || globSync(file).length === 0) return ''
  seen.add(file)
  const code = readFileSync(file, 'utf8')
  const imports = [...code.matchAll(/(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g)]
  return code + imports.map(([, path]) => reached(join(file, '..', path!), seen)).join('')
}
