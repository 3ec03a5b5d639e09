import { existsSync } from 'node:fs'
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { findChromium } from '../../scripts/chromium.ts'
import { PUBLIC_DIR } from '../../src/package.ts'
import { RawClient } from '../support/client.ts'
import { TOKEN } from '../support/gateway.ts'

/** A fresh visitor: own storage, and a record of where it went. */
export interface Visitor {
  page: Page
  /** Every URL the page asked for or opened a socket to. */
  contacted: string[]
}

// Names that are not this machine to the page, and this machine to the network.
const names = { 'gateway.local': '127.0.0.1', 'gateway.example': '127.0.0.1' }

/** CSP violations and uncaught errors of every page of this run. */
export const faults: string[] = []

/**
 * Starts Chromium, or returns undefined where there is none. `hosts` maps names, or names with ports, to where they lead;
 * certificates are then taken as they come.
 */
export async function startBrowser(t: Test, hosts?: Record<string, string>): Promise<Browser | undefined> {
  const executablePath = findChromium()
  if (executablePath === undefined) return undefined
  const browser = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      `--host-resolver-rules=${Object.entries({ ...names, ...hosts }).map(([from, to]) => `MAP ${from} ${to}`)}`,
      ...(hosts === undefined ? [] : ['--ignore-certificate-errors'])
    ]
  })
  t.teardown(() => browser.close())
  return browser
}

/** Runs tests in Chromium, or says why they cannot be run here. */
export async function inBrowser(t: Test, run: (browser: Browser) => void | Promise<void>): Promise<void> {
  const built = existsSync(`${PUBLIC_DIR}/assets/.vite/manifest.json`)
  const browser = built ? await startBrowser(t) : undefined
  if (browser !== undefined) await run(browser)
  else t.plan(0, built ? 'no Chromium or Chrome here: install one, or set CHROME_PATH' : 'npm run build:ui comes first')
}

/** Opens a page in a context of its own. */
export async function visit(t: Test, browser: Browser, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options })
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  const visitor: Visitor = { page, contacted: [] }
  page.on('request', (request) => visitor.contacted.push(request.url()))
  page.on('websocket', (socket) => visitor.contacted.push(socket.url()))
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => {
    if (/content security policy/i.test(message.text())) faults.push(message.text())
  })
  t.teardown(() => context.close())
  return visitor
}

/** Signs in with a pasted secret. */
export async function signIn(page: Page, secret: string): Promise<void> {
  await page.getByLabel('Token or password').fill(secret)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

/** Waits for a page's heading. */
export async function shows(page: Page, heading: string): Promise<void> {
  await page.getByRole('heading', { level: 1, name: heading }).waitFor()
}

/** What stands in a row of the Overview's "Reach and access". */
export function row(page: Page, title: string): Locator {
  return page.locator(`ui-reach dt:text-is("${title}") + dd`)
}

/** Someone who is in already, and decides. */
export async function admin(t: Test, ws: string): Promise<RawClient> {
  const client = await RawClient.open(ws)
  t.teardown(() => client.close())
  const { ok } = await client.connect({ auth: { token: TOKEN } })
  t.ok(ok, 'the admin is in')
  return client
}
