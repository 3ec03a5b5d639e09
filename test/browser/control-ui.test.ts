import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import type { Browser } from 'playwright-core'
import t from 'tap'
import { RawClient, TestDevice } from '../support/client.ts'
import { startApp, startProcess, TOKEN } from '../support/gateway.ts'
import { admin, faults, inBrowser, shows, signIn, visit } from './browser.ts'

t.setTimeout(110_000)
await inBrowser(t, run)

function run(browser: Browser): void {
  t.test('S1: no query, fragment, message or storage entry sends the page anywhere but home', async (t) => {
    const { http } = await startApp(t)
    const foreign = createServer()
    let calls = 0
    foreign.on('connection', (socket) => {
      calls++
      socket.destroy()
    })
    foreign.listen(0, '127.0.0.1')
    await once(foreign, 'listening')
    t.teardown(() => foreign.close())
    const evil = `ws://127.0.0.1:${(foreign.address() as AddressInfo).port}`

    const names = [
      'gatewayUrl',
      'gateway',
      'url',
      'endpoint',
      'ws',
      'wsUrl',
      'host',
      'server',
      'basePath',
      'base',
      'apiUrl'
    ]
    const hostile = names.map((name) => `${name}=${encodeURIComponent(evil)}`).join('&')
    const { page, contacted } = await visit(t, browser)
    await page.addInitScript(
      ({ evil, names }) => {
        const settings = JSON.stringify(Object.fromEntries(names.map((name) => [name, evil])))
        for (const storage of [localStorage, sessionStorage]) {
          for (const name of names) storage.setItem(name, evil)
          for (const prefix of ['openclaw.control.settings.v1', 'openclaw', 'control:settings', 'control:gateway']) {
            storage.setItem(prefix, settings)
          }
        }
      },
      { evil, names }
    )
    await page.goto(`${http}/?${hostile}#${hostile}`)
    await shows(page, 'Sign in')
    const shout = () =>
      page.evaluate(
        ({ evil, names }) => {
          for (const name of names) window.postMessage({ type: name, [name]: evil, payload: { [name]: evil } }, '*')
        },
        { evil, names }
      )
    await shout()
    await signIn(page, TOKEN)
    await shows(page, 'Overview')
    await shout()
    await page.reload()
    await shows(page, 'Overview')
    await page.evaluate((hash) => {
      window.location.hash = hash
    }, hostile)
    await page.getByText('Healthy').waitFor()

    const homes = new Set([http, http.replace('http', 'ws')])
    t.ok(contacted.length > 4, 'the page was watched')
    t.same(
      contacted.filter(
        (url) => !homes.has(new URL(url).origin.replace('null', '')) && !url.startsWith(http.replace('http', 'ws'))
      ),
      []
    )
    t.equal(calls, 0, 'nobody called the foreign server')
  })

  t.test('signing in', async (t) => {
    const { http, ws } = await startApp(t)

    t.test('by keyboard alone: a wrong secret is explained, the right one opens the Overview', async (t) => {
      const { page } = await visit(t, browser)
      await page.goto(http)
      await shows(page, 'Sign in')
      await page.keyboard.type('not-the-token')
      await page.keyboard.press('Enter')
      const alert = page.getByRole('alert')
      await alert.getByText('That token is not right').waitFor()
      await alert.getByText('Run on the gateway host').waitFor()
      t.equal(await alert.locator('code').textContent(), 'openclaw gateway auth-token --show')
      await page.getByLabel('Token or password').focus()
      await page.keyboard.press('Control+A')
      await page.keyboard.type(TOKEN)
      await page.keyboard.press('Enter')
      await shows(page, 'Overview')

      // From the top: skip link, the pages, theme, sign-out.
      await page.keyboard.press('Tab')
      t.equal(await page.evaluate(focused), 'Skip to content')
      await page.keyboard.press('Tab')
      await page.keyboard.press('Tab')
      t.equal(await page.evaluate(focused), 'Devices')
      await page.keyboard.press('Enter')
      await shows(page, 'Devices')
      t.equal(new URL(page.url()).pathname, '/devices')
      await page.goBack()
      await shows(page, 'Overview')
    })

    t.test('the Overview lives', async (t) => {
      const { page } = await visit(t, browser)
      await page.goto(http)
      await signIn(page, TOKEN)
      await shows(page, 'Overview')
      const tile = (name: string) => page.locator('.tile', { has: page.getByRole('heading', { name }) })
      t.match(await tile('Version').textContent(), /\d+\.\d+\.\d+/)
      await tile('Memory').getByText('MB', { exact: true }).waitFor()
      const before = await tile('Uptime').textContent()
      await page.waitForFunction(
        ([selector, text]) => {
          const root = document.querySelector('ui-control')?.shadowRoot?.querySelector('ui-overview')?.shadowRoot
          return (root?.querySelector(selector!) as HTMLElement | null)?.textContent !== text
        },
        ['.tile', before]
      )
      await page.getByText('This machine only').waitFor()
      await page.getByText('This browser', { exact: true }).waitFor()
      // Two samples make a line.
      await page.locator('ui-chart polyline').waitFor({ state: 'attached' })
    })

    t.test('the device token outlives the tab, the shared secret does not, and signing out forgets both', async (t) => {
      const { page } = await visit(t, browser)
      await page.goto(http)
      await signIn(page, TOKEN)
      await shows(page, 'Overview')
      const stored = () =>
        page.evaluate(() => ({ local: JSON.stringify(localStorage), session: JSON.stringify(sessionStorage) }))
      t.notMatch((await stored()).local, TOKEN)
      t.match((await stored()).local, 'device-token')
      const tab = await page.context().newPage()
      await tab.goto(http)
      await shows(tab, 'Overview')
      await tab.close()
      await page.getByRole('button', { name: 'Sign out' }).click()
      await shows(page, 'Sign in')
      t.same(await stored(), { local: '{}', session: '{}' })
      await page.reload()
      await shows(page, 'Sign in')
    })

    t.test(
      'S13: a launch link signs in once, leaves the address bar at once, and explains itself when spent',
      async (t) => {
        const { payload } = await (await admin(t, ws)).call('device.pair.launchLink', {})
        const link = `${http}/#bootstrapToken=${payload?.bootstrapToken}`
        const { page } = await visit(t, browser)
        await page.goto(link)
        await shows(page, 'Overview')
        t.equal(page.url(), `${http}/`)
        await page.reload()
        await shows(page, 'Overview')

        const second = await visit(t, browser)
        await second.page.goto(link)
        await shows(second.page, 'Sign in')
        await second.page.getByText('This link has been used or has expired').waitFor()
        t.equal(await second.page.getByRole('alert').locator('code').textContent(), 'openclaw dashboard')
        t.equal(second.page.url(), `${http}/`)
      }
    )

    t.test('where no authentication is asked for, the door stands open', async (t) => {
      const { http } = await startApp(t, { gateway: { auth: { mode: 'none' } } })
      const { page } = await visit(t, browser)
      await page.goto(http)
      await shows(page, 'Overview')
    })

    t.test('a token in the fragment signs in and is removed', async (t) => {
      const { page } = await visit(t, browser)
      await page.goto(`${http}/devices#token=${TOKEN}`)
      await shows(page, 'Devices')
      t.equal(page.url(), `${http}/devices`)
    })
  })

  t.test('devices: approve, reject, rename, revoke and remove', async (t) => {
    const { http, ws } = await startApp(t)
    const { page } = await visit(t, browser)
    await page.goto(http)
    await signIn(page, TOKEN)
    await shows(page, 'Overview')
    await page.getByRole('link', { name: 'Devices' }).click()
    await shows(page, 'Devices')

    // A command with an Origin is not paired silently: it has to ask.
    const ask = async (displayName: string, device = new TestDevice()) => {
      const client = await RawClient.open(ws, { origin: http })
      t.teardown(() => client.close())
      const answer = await client.connect(
        {
          auth: { token: TOKEN },
          client: { id: 'cli', version: '1.0.0', platform: 'linux', mode: 'cli', displayName },
          scopes: ['operator.read']
        },
        device
      )
      return { client, device, answer }
    }
    const decide = async (action: string, name: string, confirm = action) => {
      await page.getByRole('button', { name: `${action} ${name}` }).click()
      await page.getByRole('dialog').getByRole('button', { name: confirm }).click()
      await page.getByRole('dialog').waitFor({ state: 'hidden' })
    }

    const { answer, device } = await ask('Kitchen')
    t.equal(answer.error?.code, 'NOT_PAIRED')
    await page.getByRole('heading', { name: 'Waiting for you' }).waitFor()
    await page.getByRole('link', { name: /Devices.*1.*waiting/ }).waitFor()
    await decide('Approve', 'Kitchen')
    await page.getByRole('heading', { name: 'Waiting for you' }).waitFor({ state: 'detached' })
    const kitchen = await ask('Kitchen', device)
    t.ok(kitchen.answer.ok, 'the approved device is in')

    await ask('Stranger')
    await decide('Reject', 'Stranger')
    await page.getByRole('button', { name: 'Approve Stranger' }).waitFor({ state: 'detached' })

    await page.getByRole('button', { name: 'Rename Kitchen' }).click()
    await page.getByRole('textbox', { name: 'Name' }).fill('Hallway')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Rename Hallway' }).waitFor()

    // Escape is a no, and focus returns to where the question came from.
    await page.getByRole('button', { name: 'Revoke access of Hallway' }).click()
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    t.match(await page.evaluate(focused), 'Revoke')
    t.equal(kitchen.client.socket.readyState, 1, 'still connected')

    await page.getByRole('button', { name: 'Revoke access of Hallway' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
    t.equal((await kitchen.client.closed).code, 4001)
    await page.getByText('No access').waitFor()

    await decide('Remove', 'Hallway')
    await page.getByRole('button', { name: 'Remove Hallway' }).waitFor({ state: 'detached' })

    // Cutting off oneself ends at the door.
    await page.getByRole('button', { name: 'Remove Chrome on Linux' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await shows(page, 'Sign in')
    await page.reload()
    await shows(page, 'Sign in')
  })

  t.test('audit: what happened, newest first, filtered, kept up to date, and older on demand', async (t) => {
    const { app, http, ws } = await startApp(t)
    const refused = { kind: 'connect', outcome: 'denied', reason: 'token_mismatch', method: 'token' } as const
    for (let i = 0; i < 150; i++) app.trail.record({ ...refused, address: `203.0.113.${i}` })
    for (let i = 0; i < 57; i++) app.trail.record({ ...refused, address: '203.0.113.0', client: 'cli' })
    const { page } = await visit(t, browser)
    await page.goto(http)
    await signIn(page, TOKEN)
    await shows(page, 'Overview')
    await page.getByRole('link', { name: 'Audit' }).click()
    await shows(page, 'Audit')
    t.equal(new URL(page.url()).pathname, '/audit')
    const events = page.getByRole('list', { name: 'Events' }).getByRole('listitem')
    const from = (host: number) => events.filter({ hasText: new RegExp(`203\\.0\\.113\\.${host}\\s*$`) })

    const often = events.filter({ hasText: '57×' })
    await often.waitFor()
    await from(149).waitFor()
    t.equal(await often.locator('time').textContent(), 'just now')
    t.match(await often.locator('time').getAttribute('title'), /\d{4}.*\d{1,2}:\d{2}:\d{2}/)

    // Nobody reloads: what happens now comes by itself, and at once when the window is looked at again.
    const owner = await admin(t, ws)
    t.ok((await owner.call('gateway.tokens.create', { name: 'grafana', scopes: ['operator.read'] })).ok)
    await page.evaluate(() => window.dispatchEvent(new Event('focus')))
    await events.first().getByText('grafana: operator.read').waitFor()
    t.ok((await owner.call('gateway.tokens.revoke', { name: 'grafana' })).ok)
    await events.first().getByText('Token revoked').waitFor()

    const shown = await events.count()
    await page.getByRole('button', { name: 'Load older' }).click()
    await from(1).waitFor()
    t.ok((await events.count()) > shown)

    await page.getByRole('button', { name: 'Changed' }).click()
    await events.filter({ hasText: 'Token made' }).waitFor()
    // The browser's own pairing, and the token's life.
    t.equal(await events.count(), 3)
    await page.getByRole('button', { name: 'Denied' }).click()
    await from(149).waitFor()
    const filter = page.getByRole('searchbox', { name: 'Filter events' })
    await filter.fill('COMMAND line')
    await from(149).waitFor({ state: 'detached' })
    t.equal(await events.count(), 1)
    await filter.fill('no such thing')
    await page.getByText('Nothing of what is loaded matches.').waitFor()
  })

  t.test('audit: a session without full control is told so, and asks for nothing', async (t) => {
    const { http } = await startApp(t)
    const { page } = await visit(t, browser)
    const asked: string[] = []
    // Stands for an identity that may only read.
    await page.routeWebSocket(http.replace('http', 'ws'), (socket) => {
      const server = socket.connectToServer()
      socket.onMessage((text) => {
        asked.push(`${text}`)
        server.send(text)
      })
      server.onMessage((text) => socket.send(`${text}`.replace(/"scopes":\[[^\]]*\]/, '"scopes":["operator.read"]')))
    })
    await page.goto(`${http}/audit`)
    await signIn(page, TOKEN)
    await shows(page, 'Audit')
    await page.getByText('This session may not see the audit trail').waitFor()
    t.ok(asked.length > 1, 'the socket was watched')
    t.notMatch(asked.join(), 'gateway.audit')
  })

  t.test('a page on plain HTTP makes its key in JavaScript, waits for approval, and opens by itself', async (t) => {
    const { port, ws } = await startApp(t, { gateway: { controlUi: { allowedOrigins: ['http://gateway.local'] } } })
    const owner = await admin(t, ws)
    const { page } = await visit(t, browser)
    await page.goto(`http://gateway.local:${port}/`)
    t.equal(await page.evaluate(() => window.isSecureContext), false)
    await signIn(page, TOKEN)
    await shows(page, 'Approve this browser')
    const pending = (await owner.call('device.pair.list', {})).payload?.pending as { requestId: string }[]
    t.equal(pending.length, 1)
    const { requestId } = pending[0]!
    t.match(await page.locator('code').textContent(), requestId, 'the command names the request')
    t.equal(await page.getByText('User', { exact: true }).count(), 0, 'nobody vouches for its user')
    t.ok((await owner.call('device.pair.approve', { requestId })).ok)
    await shows(page, 'Overview')
    await page.reload()
    await shows(page, 'Overview')
  })

  t.test('a verified user who waits for approval sees as whom', async (t) => {
    const { port } = await startApp(t, { gateway: { controlUi: { allowedOrigins: ['http://gateway.local'] } } })
    const { page } = await visit(t, browser)
    // Stands for a front end that vouches for its user.
    await page.routeWebSocket(`ws://gateway.local:${port}/`, (socket) => {
      const server = socket.connectToServer()
      socket.onMessage((text) => server.send(text))
      server.onMessage((text) =>
        socket.send(`${text}`.replace('"requestId":', '"user":"bob@example.com","requestId":'))
      )
    })
    await page.goto(`http://gateway.local:${port}/`)
    await signIn(page, TOKEN)
    await shows(page, 'Approve this browser')
    await page.getByText('You are known, and this browser is new here.').waitFor()
    t.equal(await page.locator('dt:text-is("User") + dd').textContent(), 'bob@example.com')
  })

  t.test('refusals say what to run, and where', async (t) => {
    t.test('an address that is not allowed', async (t) => {
      const { port } = await startApp(t, { gateway: { controlUi: { allowedOrigins: ['http://gateway.example'] } } })
      const { page } = await visit(t, browser)
      await page.goto(`http://gateway.example:${port}/`)
      const alert = page.getByRole('alert')
      await alert.getByText('This address is not allowed').waitFor()
      t.equal(
        await alert.locator('code').textContent(),
        `openclaw config set gateway.controlUi.allowedOrigins '["http://gateway.example:${port}"]'`
      )
    })

    t.test('too many attempts', async (t) => {
      const rateLimit = { maxAttempts: 2, windowMs: 60_000, lockoutMs: 60_000 }
      const { http } = await startApp(t, { gateway: { auth: { mode: 'token', token: TOKEN, rateLimit } } })
      const { page } = await visit(t, browser)
      await page.goto(http)
      for (const guess of ['one', 'two']) {
        await shows(page, 'Sign in')
        await signIn(page, guess)
        await page.getByRole('alert').waitFor()
      }
      await signIn(page, 'three')
      await shows(page, 'Too many attempts')
      t.match(await page.locator('.countdown').textContent(), /^\d+\s(s|min)/)
      await page.getByRole('button', { name: 'Back to sign-in' }).click()
      await shows(page, 'Sign in')
    })
  })

  t.test('comes back after a restart of the gateway, without a reload', async (t) => {
    const args = ['--allow-unconfigured', '--bind', 'loopback', '--auth', 'token', '--token', TOKEN]
    const first = await startProcess(t, { args })
    const { page } = await visit(t, browser)
    await page.goto(first.http)
    await signIn(page, TOKEN)
    await shows(page, 'Overview')
    await page.evaluate(() => Object.assign(window, { mark: true }))
    first.child.kill('SIGTERM')
    await page.getByText('The connection was lost').waitFor()
    t.equal(await first.exited, 0)
    await startProcess(t, { args, stateDir: first.stateDir, port: first.port })
    await page.getByText('The connection was lost').waitFor({ state: 'detached' })
    await page.getByText('Healthy').waitFor()
    t.equal(await page.evaluate(() => (window as { mark?: boolean }).mark), true, 'the same page')
  })

  t.test('fits a phone, and follows light and dark', async (t) => {
    const { http } = await startApp(t)
    const { page } = await visit(t, browser, { viewport: { width: 360, height: 740 }, colorScheme: 'dark' })
    const overflow = () =>
      page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    const lightness = () =>
      page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.documentElement).backgroundColor)?.[0]))
    await page.goto(http)
    await shows(page, 'Sign in')
    t.equal(await overflow(), 0, 'sign-in')
    await signIn(page, TOKEN)
    for (const name of ['Audit', 'Overview', 'Devices']) {
      await page.getByRole('link', { name }).click()
      await shows(page, name)
      for (const width of [360, 320]) {
        await page.setViewportSize({ width, height: 740 })
        t.equal(await overflow(), 0, `${name}, ${width} wide`)
      }
    }
    t.ok((await lightness()) < 60, 'dark like the system')
    await page.getByRole('button', { name: 'Light theme' }).click()
    t.ok((await lightness()) > 200, 'light when asked')
    await page.reload()
    await shows(page, 'Devices')
    t.ok((await lightness()) > 200, 'and it stays')
  })

  t.test('works below a base path', async (t) => {
    const { http } = await startApp(t, { gateway: { controlUi: { basePath: '/claw' } } })
    const { page } = await visit(t, browser)
    await page.goto(`${http}/claw`)
    await signIn(page, TOKEN)
    await shows(page, 'Overview')
    await page.getByRole('link', { name: 'Devices' }).click()
    await shows(page, 'Devices')
    t.equal(page.url(), `${http}/claw/devices`)
    await page.reload()
    await shows(page, 'Devices')
  })

  t.test('no page broke its content security policy or threw', async (t) => {
    t.same(faults, [])
  })
}

/** The words of what has the focus, through every shadow root. */
function focused(): string {
  let element = document.activeElement
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement
  return (element as HTMLElement | null)?.textContent?.trim() ?? ''
}
