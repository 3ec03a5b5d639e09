import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startApp, startProcess, type TestProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { fingerprintOf, makePair, placesIn, putPair } from '../support/tls.ts'
import { admin, faults, inBrowser, row, shows, signIn, visit } from './browser.ts'

t.setTimeout(110_000)
await inBrowser(t, run)

/** What changes about access while a page is open. */
function run(browser: Browser): void {
  t.test('a named token signs in like any secret, until it is revoked or expires', async (t) => {
    const { http, ws } = await startApp(t)
    const owner = await admin(t, ws)
    const make = async (name: string, more: object = {}) => {
      const { payload } = await owner.call('gateway.tokens.create', { name, scopes: ['operator.read'], ...more })
      return String(payload?.token)
    }
    const { page } = await visit(t, browser)
    await page.goto(http)
    await signIn(page, await make('grafana'))
    await shows(page, 'Overview')
    await row(page, 'Reachable from').getByText('This machine only').waitFor()
    t.ok((await owner.call('gateway.tokens.revoke', { name: 'grafana' })).ok)
    await shows(page, 'Sign in')
    const alert = page.getByRole('alert')
    await alert.getByText('This token was revoked').waitFor()
    t.equal(await alert.locator('code').textContent(), 'openclaw tokens list')
    t.equal(await page.evaluate(() => sessionStorage.length), 0, 'it is forgotten')

    await signIn(page, await make('brief', { expiresInMs: 4_000 }))
    await shows(page, 'Overview')
    await shows(page, 'Sign in')
    await alert.getByText('This token has expired').waitFor()
  })

  t.test('S14: a shared secret that is replaced leaves the page in, by the token of its own', async (t) => {
    const { gateway, edit } = await withFile(t)
    const { page } = await visit(t, browser)
    await page.goto(gateway.http)
    await signIn(page, TOKEN)
    await row(page, 'Signed in with').getByText('Shared token').waitFor()
    await watchDoors(page)
    edit({ auth: { mode: 'token', token: `${TOKEN}-replaced` } })
    await row(page, 'Signed in with').getByText('This browser’s own token').waitFor()
    await page.getByText('Healthy').waitFor()
    t.equal(await doorsSeen(page), 0, 'and nobody saw a sign-in page')
    await page.reload()
    await shows(page, 'Overview')
  })

  t.test('the Overview tells what in the file waits for a restart, and what is wrong with it', async (t) => {
    const { gateway, edit } = await withFile(t)
    const { page } = await visit(t, browser)
    await page.goto(gateway.http)
    await signIn(page, TOKEN)
    const configuration = row(page, 'Configuration')
    await row(page, 'Tailscale').getByText('Off').waitFor()
    t.equal(await configuration.count(), 0, 'nothing to say')
    edit({ bind: 'lan', controlUi: { basePath: '/claw' } })
    await gateway.said('restart the gateway to apply')
    await glance(page)
    await configuration.getByText('Restart to apply: gateway.bind, gateway.controlUi.basePath').waitFor()
    edit('{ gateway: { bind: ')
    await gateway.said('configuration not applied')
    await glance(page)
    await configuration.getByText(/The file is not in force: .*not valid JSON5/s).waitFor()
    t.equal(
      await configuration
        .locator('p')
        .first()
        .evaluate((p) => getComputedStyle(p).userSelect),
      'text'
    )
    edit({})
    await gateway.said('configuration is valid again')
    await glance(page)
    await configuration.waitFor({ state: 'detached' })
  })

  t.test(
    'the certificate of the main port: enough to compare, all of it to copy, its end, and its trouble',
    async (t) => {
      const pair = await makePair({ days: 90.5 })
      const files = join(tempDir(t), 'tls')
      putPair(files, pair)
      const fingerprint = fingerprintOf(pair.cert)
      const { gateway } = await withFile(t, { tls: { enabled: true, ...placesIn(files) } })
      const permissions = ['clipboard-read', 'clipboard-write']
      const { page } = await visit(t, browser, { permissions, ignoreHTTPSErrors: true })
      await page.goto(gateway.http.replace('http', 'https'))
      await signIn(page, TOKEN)
      const shown = row(page, 'TLS')
      await shown.getByText(/Expires in 90\sd \d+\sh, \w+/).waitFor()
      t.equal(await shown.locator('code').textContent(), `${fingerprint.slice(0, 19)}…${fingerprint.slice(-8)}`)
      await shown.getByRole('button', { name: 'Copy the whole fingerprint' }).click()
      await shown.getByRole('button', { name: 'Copied' }).waitFor()
      t.equal(await page.evaluate(() => navigator.clipboard.readText()), fingerprint)
      // Plain HTTP has no clipboard: then all of it is shown and selected.
      await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }))
      await shown.getByRole('button', { name: 'Copy the whole fingerprint' }).click()
      await shown.getByText(fingerprint).waitFor()
      t.equal(await page.evaluate(() => getSelection()?.toString()), fingerprint)

      putPair(files, { ...pair, cert: 'no certificate' })
      await gateway.said('tls files not taken')
      await glance(page)
      await shown.locator('.notice.warn', { hasText: files }).waitFor()
    }
  )

  t.test('no page broke its content security policy or threw', async (t) => {
    t.same(faults, [])
  })
}

/** A gateway process, and a way to edit the `gateway` section of its file (or to write something else there). */
async function withFile(
  t: Test,
  section: object = {}
): Promise<{ gateway: TestProcess; edit(to: object | string): void }> {
  const text = (to: object) =>
    JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, ...to } })
  const gateway = await startProcess(t, { config: text(section) })
  const edit = (to: object | string) =>
    writeFileSync(`${gateway.stateDir}/openclaw.json`, typeof to === 'string' ? to : text(to))
  return { gateway, edit }
}

/** Counts from now on how often a page shows anything that stands before the control surface. */
async function watchDoors(page: Page): Promise<void> {
  await page.evaluate(() => {
    const root = document.querySelector('ui-control')!.shadowRoot!
    const seen = Object.assign(window, { doors: 0 })
    new MutationObserver(() => {
      if (root.querySelector('ui-door')) seen.doors++
    }).observe(root, { childList: true, subtree: true })
  })
}

function doorsSeen(page: Page): Promise<number | undefined> {
  return page.evaluate(() => (window as { doors?: number }).doors)
}

/** Looks at the page again: it then asks at once, instead of at its next turn. */
function glance(page: Page): Promise<boolean> {
  return page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
}
