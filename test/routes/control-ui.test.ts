import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { PUBLIC_DIR } from '../../src/package.ts'
import { startApp, TOKEN } from '../support/gateway.ts'

const html = { accept: 'text/html,*/*;q=0.8' }
const script = readdirSync(join(PUBLIC_DIR, 'assets')).find((file) => /^main-.*\.js$/.test(file))!

interface Row {
  name: string
  path: string
  method?: string
  headers?: Record<string, string>
  status: number
  type?: string
  cache?: string
  location?: string
}

async function check(t: Test, http: string, rows: Row[]): Promise<void> {
  for (const { name, path, method = 'GET', headers = html, status, type, cache, location } of rows) {
    const response = await fetch(http + path, { method, headers, redirect: 'manual' })
    await response.body?.cancel()
    const got = {
      status: response.status,
      type: type && response.headers.get('content-type')?.split(';', 1)[0],
      cache: cache && response.headers.get('cache-control'),
      location: location && response.headers.get('location')
    }
    t.same(got, { status, type, cache, location }, name)
  }
}

t.test('at the root', async (t) => {
  const { http } = await startApp(t)
  const bearer = { authorization: `Bearer ${TOKEN}` }
  const page = { status: 200, type: 'text/html', cache: 'no-cache' }

  await check(t, http, [
    { name: 'serves the page', path: '/', ...page },
    { name: 'serves the page under its own name', path: '/index.html', ...page },
    { name: 'serves the page for a path that its router knows', path: '/devices', ...page },
    { name: 'serves the page for a path that its router may know one day', path: '/chat/main?x=1', ...page },
    { name: 'serves the page to a client that takes anything', path: '/', headers: { accept: '*/*' }, ...page },
    { name: 'answers HEAD', path: '/', method: 'HEAD', ...page },
    { name: 'is no page to a client that wants JSON', path: '/', headers: { accept: 'application/json' }, status: 404 },
    { name: 'is no page below an API prefix', path: '/v1/nope', status: 404, type: 'text/plain' },
    { name: 'is no page below /hooks', path: '/hooks/nope', status: 404 },
    { name: 'is no page for a missing file', path: '/nope.png', status: 404, type: 'text/plain' },
    { name: 'is no page for POST', path: '/devices', method: 'POST', status: 404 },
    {
      name: 'serves an asset for ever',
      path: `/assets/${script}`,
      status: 200,
      cache: 'public, max-age=31536000, immutable'
    },
    { name: 'knows no other asset', path: '/assets/nope.js', status: 404 },
    { name: 'shows nothing hidden', path: '/assets/.vite/manifest.json', status: 404 },
    { name: 'leaves its folder for nobody', path: '/assets/..%2f..%2fpackage.json', status: 403 },
    { name: 'serves the icon', path: '/icon.svg', status: 200, type: 'image/svg+xml' },
    { name: 'serves the manifest', path: '/manifest.webmanifest', status: 200, type: 'application/manifest+json' },
    { name: 'keeps its configuration to itself', path: '/control-ui-config.json', status: 401 },
    {
      name: 'keeps it from a wrong bearer',
      path: '/control-ui-config.json',
      headers: { authorization: 'Bearer x' },
      status: 401
    },
    { name: 'tells a bearer', path: '/control-ui-config.json', headers: bearer, status: 200, cache: 'no-cache' },
    { name: 'tells a bearer by the old path', path: '/__openclaw/control-ui-config.json', headers: bearer, status: 200 }
  ])

  const response = await fetch(http, { headers: html })
  const text = await response.text()
  t.test('S23: the page forbids inline code, foreign origins and framing', async (t) => {
    const csp = new Map(
      (response.headers.get('content-security-policy') ?? '').split(';').map((rule) => {
        const [name = '', ...values] = rule.trim().split(' ')
        return [name, values.join(' ')]
      })
    )
    for (const name of ['default-src', 'script-src', 'style-src', 'connect-src', 'worker-src']) {
      t.equal(csp.get(name), "'self'", name)
    }
    for (const name of ['base-uri', 'object-src', 'frame-ancestors', 'form-action'])
      t.equal(csp.get(name), "'none'", name)
    t.equal(response.headers.get('x-frame-options'), 'DENY')
    t.equal(response.headers.get('x-content-type-options'), 'nosniff')
    t.equal(response.headers.get('referrer-policy'), 'no-referrer')
    t.match(response.headers.get('vary'), /accept-encoding/i)
    t.notMatch(text, /<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=/i)
    t.notMatch(text, /(src|href)="(https?:)?\/\//)
  })

  t.test('S26: the page names neither product, version nor host', async (t) => {
    t.notMatch(text, /openclaw|\d+\.\d+\.\d+|127\.0\.0\.1/i)
    t.match(text, '<title>Control</title>')
  })

  t.test('everything the page names is there, compressed beforehand', async (t) => {
    const names = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name]) => name!)
    t.ok(names.length >= 4)
    for (const name of names) {
      const found = await fetch(http + name, { headers: { 'accept-encoding': 'br' } })
      await found.arrayBuffer()
      t.equal(found.status, 200, name)
      if (name.startsWith('/assets/')) t.equal(found.headers.get('content-encoding'), 'br', name)
    }
  })
})

t.test('below a base path', async (t) => {
  const { http } = await startApp(t, { gateway: { controlUi: { basePath: '/claw' } } })
  const bearer = { authorization: `Bearer ${TOKEN}` }
  await check(t, http, [
    { name: 'leaves the root alone', path: '/', status: 404 },
    { name: 'adds the slash and keeps the query', path: '/claw?x=1', status: 302, location: '/claw/?x=1' },
    { name: 'serves the page', path: '/claw/', status: 200, type: 'text/html' },
    { name: 'serves the page for its paths', path: '/claw/devices', status: 200, type: 'text/html' },
    { name: 'owns every path below, probes elsewhere', path: '/claw/healthz', status: 200, type: 'text/html' },
    { name: 'keeps the probes at the root', path: '/healthz', status: 200, type: 'application/json' },
    { name: 'owns no path that only begins like it', path: '/clawx', status: 404 },
    { name: 'serves assets below it', path: `/claw/assets/${script}`, status: 200 },
    { name: 'serves no assets at the root', path: `/assets/${script}`, status: 404 },
    { name: 'serves its configuration below it', path: '/claw/control-ui-config.json', headers: bearer, status: 200 },
    { name: 'and not at the root', path: '/control-ui-config.json', headers: bearer, status: 404 },
    { name: 'refuses a POST', path: '/claw/', method: 'POST', status: 404 }
  ])
  const text = await (await fetch(`${http}/claw/`, { headers: html })).text()
  t.match(text, 'data-base-path="/claw"')
  t.match(text, `src="/claw/assets/${script}"`)
})

t.test('switched off', async (t) => {
  const { http } = await startApp(t, { gateway: { controlUi: { enabled: false } } })
  await check(t, http, [
    { name: 'serves no page', path: '/', status: 404 },
    { name: 'serves no asset', path: `/assets/${script}`, status: 404 },
    {
      name: 'has no configuration',
      path: '/control-ui-config.json',
      headers: { authorization: `Bearer ${TOKEN}` },
      status: 404
    },
    { name: 'keeps the probes', path: '/healthz', status: 200 }
  ])
})
