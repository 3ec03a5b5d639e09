import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import t from 'tap'
import { startApp, startProcess, tempDir } from '../support/gateway.ts'
import { faults, inBrowser, row, shows, signIn, visit } from './browser.ts'
import { startIdentityProxy } from './identity-proxy.ts'

t.setTimeout(110_000)

type Json = Record<string, unknown>

const PASSWORD = 'the-password-of-this-machine'
const USER = 'x-user'

await inBrowser(t, run)

/** The gateway's section for a proxy that serves it as `http://gateway.example:PORT`. */
function section(port: number, trustedProxy: Json, more: Json = {}): Json {
  return {
    mode: 'local',
    controlUi: { allowedOrigins: [`http://gateway.example:${port}`] },
    auth: { mode: 'trusted-proxy', password: PASSWORD, trustedProxy: { userHeader: USER, ...trustedProxy } },
    ...more
  }
}

function run(browser: Browser): void {
  t.test('through a proxy with a socket of its own', async (t) => {
    const socketPath = join(tempDir(t), 'proxy.sock')
    const proxy = await startIdentityProxy(t)
    proxy.lead({ socketPath })
    proxy.headers = { [USER]: 'alice@example.com' }
    const trusted = { socket: socketPath, deviceAutoApprove: { enabled: true } }
    const gateway = await startProcess(t, { config: JSON.stringify({ gateway: section(proxy.port, trusted) }) })

    await t.test('its user comes straight in, with nothing to type', async (t) => {
      const { page } = await visit(t, browser)
      await page.goto(`http://gateway.example:${proxy.port}/`)
      await shows(page, 'Overview')
      await row(page, 'Signed in as').getByText('alice@example.com').waitFor()
      await row(page, 'Signed in as').getByText('Identity at the proxy').waitFor()
      t.match(await row(page, 'Reachable from').textContent(), `The proxy at ${socketPath}`)
      await row(page, 'Listening on').getByText('for the proxy').waitFor()
    })

    await t.test('whoever goes past it is told so, and at the gateway host the password signs in', async (t) => {
      const { page } = await visit(t, browser)
      await page.goto(gateway.http)
      const alert = page.getByRole('alert')
      await alert.getByText('This address leads past the proxy').waitFor()
      t.equal(await alert.locator('code').textContent(), 'openclaw dashboard')
      await signIn(page, PASSWORD)
      await shows(page, 'Overview')
    })
  })

  t.test('a refusal says what happened, what the visitor can do, and what to run where', async (t) => {
    const rows: {
      name: string
      trustedProxy?: Json
      headers?: Record<string, string>
      says: string
      advises: string
      runs: string
      final?: boolean
    }[] = [
      {
        name: 'no user',
        says: 'The proxy did not say who you are',
        advises: 'Sign in at the proxy, then reload this page.',
        runs: 'openclaw config get gateway.auth.trustedProxy.userHeader'
      },
      {
        name: 'a user who is not on the list',
        trustedProxy: { allowUsers: ['alice@example.com'] },
        headers: { [USER]: 'mallory@example.com' },
        says: 'You are not on the list',
        advises: 'Sign in at the proxy as another user',
        runs: 'openclaw config get gateway.auth.trustedProxy.allowUsers',
        final: true
      },
      {
        name: 'a header that is not there',
        trustedProxy: { requiredHeaders: ['x-gate'] },
        headers: { [USER]: 'alice@example.com' },
        says: 'The gateway expects the header “x-gate”',
        advises: 'tell whoever runs the proxy the name of that header',
        runs: 'openclaw config get gateway.auth.trustedProxy'
      },
      {
        name: 'a proxy of this machine that is not trusted',
        trustedProxy: { allowLoopback: false },
        headers: { [USER]: 'alice@example.com' },
        says: 'The gateway does not trust its proxy',
        advises: 'Open this gateway at the address that its proxy serves.',
        runs: 'openclaw config set gateway.auth.trustedProxy.allowLoopback true'
      },
      {
        name: 'an assertion that does not hold',
        trustedProxy: {
          jwt: { issuer: 'https://login.example.com', audience: 'gateway', jwks: '/nowhere/jwks.json', header: 'x-jwt' }
        },
        headers: { [USER]: 'alice@example.com', 'x-jwt': 'no.assertion' },
        says: 'Your sign-in at the proxy does not hold',
        advises: 'Sign out at the proxy and in again, then reload this page.',
        runs: 'openclaw config get gateway.auth.trustedProxy.jwt',
        final: true
      }
    ]
    for (const { name, trustedProxy, headers = {}, says, advises, runs, final = false } of rows) {
      await t.test(name, async (t) => {
        const proxy = await startIdentityProxy(t)
        const trusted = { allowLoopback: true, ...trustedProxy }
        const gateway = section(proxy.port, trusted, { trustedProxies: ['127.0.0.1'] })
        const { port } = await startApp(t, { gateway })
        proxy.lead({ port })
        proxy.headers = headers
        const { page } = await visit(t, browser)
        await page.goto(`http://gateway.example:${proxy.port}/`)
        const alert = page.getByRole('alert')
        await alert.getByText(says).waitFor()
        await alert.getByText(advises).waitFor()
        await alert.getByText('Run on the gateway host').waitFor()
        t.equal(await alert.locator('code').textContent(), runs)
        t.equal(await page.getByLabel('Token or password').count(), final ? 0 : 1, 'a field only where one helps')
        if (!final) return
        proxy.headers = { [USER]: 'alice@example.com' }
        await page.getByRole('button', { name: 'Try again' }).click()
        // Here only one of the two is anybody: the other one still waits for its assertion.
        if (trustedProxy?.jwt) await page.getByText('The gateway expects the header “x-jwt”').waitFor()
        else await shows(page, 'Approve this browser')
      })
    }
  })

  t.test('no page broke its content security policy or threw', async (t) => {
    t.same(faults, [])
  })
}
