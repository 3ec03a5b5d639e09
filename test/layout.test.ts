import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'

const root = path.dirname(import.meta.dirname)

/** The parts of src/ in order: each may import itself and what stands before it. */
const rows = [
  'package.ts',
  'port-owner.ts',
  'protocol',
  'config',
  'auth',
  'store',
  'tls',
  'tailscale',
  'identity',
  'discovery',
  'live.ts',
  'reload.ts',
  'security',
  'bus.ts',
  'devices',
  'nodes',
  'approvals',
  'tools',
  'sessions',
  'agent',
  'channels',
  'rpc',
  'plugins',
  'openapi',
  'routes',
  'log.ts',
  'server.ts',
  'listeners.ts',
  'exposure.ts',
  'app.ts',
  'main.ts',
  'index.ts',
  'client',
  'node-host',
  'cli'
]

/** Parts that are held to less than their row allows: the only other parts that they may import. */
const only: Record<string, readonly string[]> = {
  protocol: [],
  config: ['package.ts', 'protocol'],
  auth: ['protocol', 'config'],
  store: ['protocol', 'auth'],
  tls: ['config', 'auth'],
  tailscale: ['protocol', 'config', 'auth'],
  discovery: ['auth'],
  security: ['protocol', 'config', 'auth', 'tls'],
  approvals: ['protocol', 'config', 'auth', 'store'],
  client: ['package.ts', 'port-owner.ts', 'protocol', 'config', 'auth'],
  'node-host': ['package.ts', 'protocol', 'config', 'auth', 'approvals', 'client']
}

interface Import {
  file: string
  specifier: string
  /** True when the import vanishes with the types. */
  type: boolean
}

function sources(folder: string): readonly string[] {
  return globSync(`${folder}/**/*.{ts,js}`, { cwd: root }).map((file) => file.split(path.sep).join('/'))
}

function read(file: string): string {
  return readFileSync(path.join(root, file), 'utf8')
}

function importsOf(file: string): readonly Import[] {
  const pattern = /(?:^|\n)\s*(?:import|export)\s[^'"`;]*?from\s+'([^']+)'|\bimport\s*\(?\s*'([^']+)'/g
  return [...read(file).matchAll(pattern)].map((match) => ({
    file,
    specifier: match[1] ?? match[2]!,
    type: /^\s*(import|export) type\s/.test(match[0])
  }))
}

/** The part of src/ that a path lies in: its folder, or its own name directly below src/. */
function partOf(file: string): string {
  return file.split('/')[1]!
}

function target({ file, specifier }: Import): string {
  return path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier))
}

const src = sources('src')
const imports = src.flatMap(importsOf)
const relative = imports.filter(({ specifier }) => specifier.startsWith('.'))

t.test('the walk sees the code', async (t) => {
  t.ok(src.length > 20, 'finds the sources')
  t.ok(relative.length > src.length / 2, 'finds their imports')
})

t.test('every part of src/ has a row', async (t) => {
  t.same(
    [...new Set(src.map(partOf))].filter((part) => !rows.includes(part)),
    []
  )
})

t.test('a row imports only itself and rows above it', async (t) => {
  const upward = relative
    .filter((item) => target(item).startsWith('src/'))
    .map((item) => ({ ...item, from: partOf(item.file), to: partOf(target(item)) }))
    .filter(({ from, to }) => from !== to && !(only[from] ?? rows.slice(0, rows.indexOf(from))).includes(to))
  t.same(upward, [])
})

t.test('src/ imports nothing outside src/ but the package manifest', async (t) => {
  const outside = relative.filter((item) => !target(item).startsWith('src/') && target(item) !== 'package.json')
  t.same(outside, [])
})

t.test('relative imports name the file with its extension', async (t) => {
  t.same(
    relative.filter(({ specifier }) => !/\.(ts|js|json)$/.test(specifier)),
    []
  )
})

t.test('protocol/ imports only typebox', async (t) => {
  const packages = imports.filter(({ file, specifier }) => partOf(file) === 'protocol' && !specifier.startsWith('.'))
  t.same(
    packages.filter(({ specifier }) => !/^typebox(\/|$)/.test(specifier)),
    []
  )
})

t.test('auth/ is pure policy: no Fastify, no sockets', async (t) => {
  const framework = /^(fastify|@fastify\/|ws$|node:(http|https|tls|child_process)$)/
  t.same(
    imports.filter(({ file, specifier, type }) => !type && partOf(file) === 'auth' && framework.test(specifier)),
    []
  )
})

t.test('only src/main.ts and src/cli/ touch the process', async (t) => {
  const touches =
    /\bprocess\s*\.\s*(env|exit|exitCode|on|once|argv|stdin|stdout|stderr|chdir|title)\b|\bconsole\s*\.\s*\w+\s*\(|from 'node:process'/
  const touching = src
    .filter((file) => file !== 'src/main.ts' && !file.startsWith('src/cli/'))
    .flatMap((file) =>
      read(file)
        // Comments may talk about it.
        .replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '')
        .split('\n')
        .filter((line) => touches.test(line))
        .map((line) => `${file}: ${line.trim()}`)
    )
  t.same(touching, [])
})

t.test('the Control UI imports only client/ and protocol/ from src/', async (t) => {
  const outside = sources('ui')
    .flatMap(importsOf)
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map((item) => ({ ...item, target: target(item) }))
    .filter(({ target }) => !/^(ui|src\/client|src\/protocol)\//.test(target))
  t.same(outside, [])
})
