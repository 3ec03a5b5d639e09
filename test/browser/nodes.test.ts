import jsQR from 'jsqr'
import type { Browser, Page } from 'playwright-core'
import t from 'tap'
import { startApp, TOKEN } from '../support/gateway.ts'
import { freshKey, TestNode } from '../support/nodes.ts'
import { admin, faults, inBrowser, shows, signIn, visit } from './browser.ts'

t.setTimeout(110_000)
await inBrowser(t, run)

/** Nodes, pairing by a code, and approvals, as a person sees them. */
function run(browser: Browser): void {
  t.test('a node is approved for what it offers, runs a command as it is typed, and is removed', async (t) => {
    const { http, ws } = await startApp(t)
    const { page } = await visit(t, browser)
    await page.goto(`${http}/nodes`)
    await signIn(page, TOKEN)
    await shows(page, 'Nodes')
    await page.getByText('No node is paired yet.').waitFor()

    const node = await TestNode.connect(t, ws, { commands: ['system.run', 'system.which', 'camera.snap'] })
    const waits = page.getByRole('listitem').filter({ has: page.getByRole('button', { name: 'Approve' }) })
    await waits.getByText('Reaches into the machine').waitFor()
    t.same(
      (await waits.getByRole('list', { name: 'What approval would allow' }).innerText()).split('\n'),
      ['Run any program its policy allows system.run', 'Find out which programs it has system.which'],
      'what the gateway would never let it do is not offered'
    )
    await page.getByRole('link', { name: 'Nodes 1 waiting' }).waitFor()
    await waits.getByRole('button', { name: 'Approve' }).click()
    await page.getByText('run programs and read on that machine').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Approve' }).click()
    await page.getByText('2 commands').waitFor()

    await node.client.call('node.event', {
      event: 'node.host.stats',
      payloadJSON: JSON.stringify({ cpuCount: 4, loadAverage: [1, 1, 1], memoryTotalBytes: 100, memoryFreeBytes: 25 })
    })
    await page.getByRole('img', { name: 'Load: 25 % of 4 cores' }).waitFor()
    await page.getByRole('img', { name: 'Memory: 75 % of' }).waitFor()

    await page.getByRole('button', { name: 'Run a command on' }).click()
    await page.getByLabel('Command line').fill('make all')
    await page.getByRole('button', { name: 'Run', exact: true }).click()
    const asked = await node.request()
    t.match(JSON.parse(asked.paramsJSON ?? ''), { command: ['sh', '-c', 'make all'] })
    const output = page.getByLabel('Output')
    for (const [seq, chunk] of ['building\n', 'testing\n'].entries()) {
      await node.client.call('node.invoke.progress', { invokeId: asked.id, nodeId: node.id, seq, chunk })
      await output.getByText(chunk.trim()).waitFor()
    }
    await page.getByText('Running…').waitFor()
    await node.result(asked.id, { ok: true, payload: { exitCode: 2, stdout: 'building\ntesting\n', stderr: '' } })
    await page.getByText('Ended with exit code 2.').waitFor()
    t.equal(await output.innerText(), 'building\ntesting\n', 'what was streamed is not shown twice')

    await page.getByRole('button', { name: 'Run', exact: true }).click()
    const again = await node.request()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByText('node invoke cancelled').waitFor()
    const { payload } = await node.client.event('node.invoke.cancel')
    t.equal((payload as { invokeId: string }).invokeId, again.id, 'the node is told')

    await page.getByRole('button', { name: 'Rename' }).click()
    await page.getByRole('textbox', { name: 'Name' }).fill('Attic')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Attic', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Remove Attic' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('No node is paired yet.').waitFor()
    t.equal((await node.client.closed).code, 4001)
  })

  t.test('S13: a code is shown as a QR code that says the same, and the dialog tells who used it', async (t) => {
    const { http, ws } = await startApp(t, { gateway: { publicOrigin: 'https://gateway.example' } })
    const { page } = await visit(t, browser)
    await page.goto(`${http}/devices`)
    await signIn(page, TOKEN)
    await page.getByRole('button', { name: 'Pair a device' }).click()
    await page.getByRole('button', { name: 'A node' }).click()
    await page.getByText('openclaw node run --pair').waitFor()
    await page.getByRole('button', { name: 'Back' }).click()
    await page.getByRole('button', { name: 'Your phone' }).click()
    const text = await page.locator('ui-pair ui-command code').innerText()
    t.equal(await scanned(page), text)
    const { bootstrapToken } = JSON.parse(Buffer.from(text, 'base64url').toString())
    await TestNode.connect(t, ws, {
      auth: { bootstrapToken },
      client: { id: 'openclaw-ios', mode: 'node', version: '1', platform: 'ios', displayName: 'Ada’s phone' }
    })
    await page.getByText('Ada’s phone is paired.').waitFor()
    await page.getByRole('button', { name: 'Done' }).click()
    await page.getByRole('listitem').filter({ hasText: 'Ada’s phone' }).getByText('Full control').waitFor()
  })

  t.test('a gateway that no other device reaches says how to change that', async (t) => {
    const { http } = await startApp(t)
    const { page } = await visit(t, browser)
    await page.goto(`${http}/devices`)
    await signIn(page, TOKEN)
    await page.getByRole('button', { name: 'Pair a device' }).click()
    await page.getByRole('button', { name: 'Your phone' }).click()
    await page.getByRole('alert').getByText('This gateway listens on loopback only').waitFor()
    t.equal(
      await page.locator('ui-pair ui-command code').innerText(),
      'openclaw config set gateway.tailscale.mode serve'
    )
  })

  t.test('a command that waits is announced, decided where it is shown, and stays on record', async (t) => {
    const { http, ws } = await startApp(t)
    const { page } = await visit(t, browser, { permissions: ['notifications'] })
    await page.addInitScript(() => {
      const shown: string[] = []
      Object.assign(window, { shown })
      class Spy {
        static permission = 'granted'
        constructor(title: string) {
          shown.push(title)
        }
        close() {}
      }
      window.Notification = Spy as unknown as typeof Notification
      // A page that nobody looks at.
      Object.defineProperty(document, 'visibilityState', { get: () => 'hidden' })
    })
    await page.goto(`${http}/approvals`)
    await signIn(page, TOKEN)
    await page.getByText('Nothing waits.').waitFor()
    const asker = await admin(t, ws)
    const ask = (command: string) =>
      asker.call('exec.approval.request', { id: freshKey(), command, commandArgv: command.split(' '), host: 'gateway' })
    for (const [button, decision, record] of [
      ['Allow once', 'allow-once', 'Allowed once'],
      ['Deny', 'deny', 'Denied']
    ] as const) {
      const command = `rm -rf /srv/${decision}`
      const answer = ask(command)
      const row = page.getByRole('listitem').filter({ hasText: command })
      await row.getByRole('button', { name: button }).click()
      t.match((await answer).payload, { decision })
      await row.getByText(record).waitFor()
    }
    await page.getByText('Nothing waits.').waitFor()
    const shown = await page.evaluate(() => (window as unknown as { shown: string[] }).shown)
    t.same(shown, Array(2).fill('A command waits for your approval'), 'without the command')
  })

  t.test('no page broke its policy, and none failed', (t) => {
    t.same(faults, [])
    t.end()
  })
}

/** What a camera reads off the screen. */
async function scanned(page: Page): Promise<string | undefined> {
  const picture = page.getByRole('img', { name: 'QR code of the setup code' })
  const { data, size } = await picture.evaluate(async (image: HTMLImageElement) => {
    await image.decode()
    const size = image.naturalWidth
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = size
    const context = canvas.getContext('2d')!
    context.drawImage(image, 0, 0)
    return { data: [...context.getImageData(0, 0, size, size).data], size }
  })
  return jsQR.default(Uint8ClampedArray.from(data), size, size)?.data
}
