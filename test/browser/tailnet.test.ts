import type { Browser } from 'playwright-core'
import t, { type Test } from 'tap'
import { cli, RawClient } from '../support/client.ts'
import { startProcess, type TestProcess, TOKEN } from '../support/gateway.ts'
import { startTailnet, TAILNET_NAME, type Tailnet } from '../support/tailscaled.ts'
import { faults, inBrowser, row, shows, signIn, startBrowser, visit } from './browser.ts'

t.setTimeout(110_000)

const ACTIVE = 'tailscale exposes the gateway'

await inBrowser(t, run)

async function run(browser: Browser): Promise<void> {
  const { gateway, tailnet, owner } = await exposed(t, 'serve')
  const alice = await browserOf(t, tailnet, 'alice')
  const bob = await browserOf(t, tailnet, 'bob')

  t.test('the machine’s owner comes straight in, with nothing to type', async (t) => {
    const { page, contacted } = await visit(t, alice)
    await page.goto(`${tailnet.origin}/`)
    await shows(page, 'Overview')
    await row(page, 'Signed in as').getByText('Alice (alice@example.com)').waitFor()
    await row(page, 'Signed in as').getByText('Tailscale identity').waitFor()
    await row(page, 'Reachable from').getByText('The tailnet (Serve)').waitFor()
    const link = row(page, 'Tailscale').getByRole('link', { name: tailnet.origin })
    t.match(await row(page, 'Tailscale').textContent(), /^\s*Serve, at/)
    t.equal(await link.getAttribute('href'), `${tailnet.origin}/`)
    t.equal(await link.getAttribute('target'), '_blank')
    t.equal(await link.getAttribute('rel'), 'noopener')
    await page.getByText('Browser · Linux x86_64 · 100.64.0.1').waitFor()
    t.same(new Set(contacted.map((url) => new URL(url).host)), new Set([TAILNET_NAME]))
    t.same(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage])), '[{},{}]', 'nothing is kept')

    await page.getByRole('button', { name: 'Sign out' }).click()
    await shows(page, 'Sign in')
    await page.getByRole('button', { name: 'Sign in as before' }).click()
    await shows(page, 'Overview')
  })

  t.test('another user of the tailnet waits for approval, and comes in by itself', async (t) => {
    const admin = await visit(t, alice)
    await admin.page.goto(`${tailnet.origin}/devices`)
    await shows(admin.page, 'Devices')
    const { page } = await visit(t, bob)
    await page.goto(`${tailnet.origin}/`)
    await shows(page, 'Approve this browser')
    await page.locator('dt:text-is("User") + dd', { hasText: 'bob@example.com' }).waitFor()
    const pending = admin.page.getByRole('listitem').filter({ hasText: 'bob@example.com' })
    await pending.getByText('Verified user').waitFor()
    await pending.getByText('Calls itself “Chrome on Linux”').waitFor()
    await pending.getByRole('button', { name: 'Approve bob@example.com' }).waitFor()

    const { payload } = await owner.call('device.pair.list', {})
    const [request] = payload!.pending as { requestId: string; user: string }[]
    t.equal(request?.user, 'bob@example.com')
    t.match(await page.locator('code').textContent(), request?.requestId, 'the command names the request')
    t.ok((await owner.call('device.pair.approve', { requestId: request?.requestId })).ok)
    await shows(page, 'Overview')
    await row(page, 'Signed in as').getByText('Jürgen Böb (bob@example.com)').waitFor()
    await admin.page.getByText('connected as Jürgen Böb (bob@example.com)').waitFor()
  })

  t.test('a tailscaled that dies: the tailnet’s page waits, the local one goes on and says why', async (t) => {
    const far = await visit(t, alice)
    await far.page.goto(`${tailnet.origin}/`)
    await shows(far.page, 'Overview')
    await far.page.evaluate(() => Object.assign(window, { mark: true }))
    const near = await visit(t, browser)
    await near.page.goto(gateway.http)
    await signIn(near.page, TOKEN)
    await row(near.page, 'Tailscale').getByText('Serve, at').waitFor()

    await tailnet.kill()
    await far.page.getByText('The connection was lost').waitFor()
    await far.page.getByText('Last known state').waitFor()
    const exposure = row(near.page, 'Tailscale')
    await exposure.getByText('Not exposed: ').waitFor()
    await exposure.getByText('Run on the gateway host').waitFor()
    t.match(await exposure.locator('code').textContent(), /tailscale/)
    await exposure.getByText(/Next try in \d+\ss\.|Trying now\./).waitFor()
    await row(near.page, 'Reachable from').getByText('This machine only').waitFor()
    await near.page.getByText('Healthy').waitFor()

    await tailnet.start()
    await gateway.said(ACTIVE, 2)
    await exposure.getByText('Serve, at').waitFor()
    await row(near.page, 'Reachable from').getByText('The tailnet (Serve)').waitFor()
    // By itself, after some seconds at most; sooner when the browser's own network comes back.
    await far.page.evaluate(() => window.dispatchEvent(new Event('online')))
    await far.page.getByText('Healthy').waitFor({ timeout: 30_000 })
    t.equal(await far.page.evaluate(() => (window as { mark?: boolean }).mark), true, 'the same page')
  })

  t.test('R7: with allowTailscale off from one moment to the next, whoever was in is told so', async (t) => {
    const { page } = await visit(t, alice)
    await page.goto(`${tailnet.origin}/`)
    await shows(page, 'Overview')
    const switchTo = async (allowTailscale: boolean) => {
      const { payload } = await owner.call('config.get', {})
      const raw = JSON.stringify({ gateway: { auth: { allowTailscale } } })
      return owner.call('config.patch', { raw, baseHash: payload?.hash })
    }
    t.match(await switchTo(false), { ok: true })
    await shows(page, 'Sign in')
    const alert = page.getByRole('alert')
    await alert.getByText('Who you are is no longer enough').waitFor()
    t.equal(await alert.locator('code').textContent(), 'openclaw dashboard')
    t.match(await switchTo(true), { ok: true })
    await page.reload()
    await shows(page, 'Overview')
  })

  t.test('Funnel is marked as public, and asks its visitors for the password', async (t) => {
    const { tailnet, owner } = await exposed(t, 'funnel')
    const { page } = await visit(t, await browserOf(t, tailnet, 'public'))
    await page.goto(`${tailnet.origin}/`)
    await shows(page, 'Sign in')
    // A link into it signs in from anywhere, once.
    const { payload } = await owner.call('device.pair.launchLink', {})
    await page.goto(`${tailnet.origin}/#bootstrapToken=${payload?.bootstrapToken}`)
    await shows(page, 'Overview')
    t.match(await row(page, 'Tailscale').textContent(), /Funnel, at\s+https:\/\/box\.tail1\.ts\.net\s*Public/)
    t.match(await row(page, 'Reachable from').textContent(), /This machine\s*The internet \(Funnel\)\s*Public/)
  })

  t.test('no page broke its content security policy or threw', async (t) => {
    t.same(faults, [])
  })
}

/** A gateway process in a fake tailnet, whose route is up. */
async function exposed(
  t: Test,
  mode: 'serve' | 'funnel'
): Promise<{ gateway: TestProcess; tailnet: Tailnet; owner: RawClient }> {
  const tailnet = await startTailnet(t)
  const auth = mode === 'funnel' ? { mode: 'password', password: TOKEN } : { mode: 'token', token: TOKEN }
  const section = { mode: 'local', auth, tailscale: { mode, socket: tailnet.socket } }
  const gateway = await startProcess(t, { config: JSON.stringify({ gateway: section }), env: tailnet.env })
  await gateway.said(ACTIVE)
  const owner = await RawClient.open(`ws+unix://${gateway.stateDir}/gateway.sock:/`)
  t.teardown(() => owner.close())
  await owner.connect({ client: cli })
  return { gateway, tailnet, owner }
}

/** The browser of one peer: to it the machine's name leads where that peer's requests go in. */
async function browserOf(t: Test, tailnet: Tailnet, peer: string): Promise<Browser> {
  return (await startBrowser(t, { [`${TAILNET_NAME}:443`]: new URL(tailnet.urlOf(peer)).host }))!
}
