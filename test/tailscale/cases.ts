import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { isTailnet } from '../../src/auth/addresses.ts'
import type { Env } from '../../src/config/paths.ts'
import { isOwner } from '../../src/tailscale/answers.ts'
import { TailscaleDaemon } from '../../src/tailscale/daemon.ts'
import { type ExposureState, startExposure } from '../../src/tailscale/exposure.ts'
import { supportsUnixTarget } from '../../src/tailscale/serve.ts'
import { socketOwner } from '../../src/tailscale/socket-owner.ts'
import { tempDir } from '../support/gateway.ts'

/** A tailscaled to test against: a fake, or a real one. */
export interface Subject {
  env: Env
  socket: string
  /** Sends a request through the tailnet to the exposed URL, from a machine that whois knows. */
  get(url: string): Promise<{ status: number }>
}

export const quiet = { info() {}, warn() {}, error() {} }

/** Resolves when an exposure's state fits. */
export function watchStates() {
  const states: ExposureState[] = []
  const waiting = new Set<() => void>()
  return {
    states,
    onChange(state: ExposureState) {
      states.push(state)
      for (const check of [...waiting]) check()
    },
    /** The first state from the `from`-th on that fits. */
    when(fits: (state: ExposureState) => boolean, from = 0): Promise<ExposureState> {
      return new Promise((resolve) => {
        const check = () => {
          const found = states.slice(from).find(fits)
          if (found === undefined) return
          waiting.delete(check)
          resolve(found)
        }
        waiting.add(check)
        check()
      })
    }
  }
}

/** What holds of every tailscaled whose machine is connected. */
export async function tailscaledCases(t: Test, subject: Subject): Promise<void> {
  const daemon = new TailscaleDaemon(subject)
  const { cli } = daemon

  await t.test('status names a machine that runs', async (t) => {
    const status = await daemon.status()
    t.equal(status.state, 'Running')
    t.match(status.version, /^\d+\.\d+\.\d+/)
    t.match(status.dnsName, /^[a-z0-9-]+(\.[a-z0-9-]+)+$/)
    t.ok(status.ips.length > 0 && status.ips.every(isTailnet), 'its addresses are in the tailnet')
    t.equal(status.ownerId === undefined, status.ownerLogin === undefined, 'an owner has a login')
  })

  await t.test('whois knows whose this machine is', async (t) => {
    const status = await daemon.status()
    for (const ip of status.ips) {
      const self = await daemon.whois(ip)
      t.ok(self !== undefined && self.login !== '' && self.userId > 0)
      t.equal(isOwner(self!, status), !self!.tagged, 'its owner, unless it is tagged')
    }
  })

  await t.test('whois knows nobody at an address outside of the tailnet', async (t) => {
    t.equal(await daemon.whois('192.0.2.1'), undefined)
    t.equal(await cli.whois('192.0.2.1'), undefined)
  })

  await t.test('the socket and the command agree', async (t) => {
    const status = await daemon.status()
    t.same(await cli.status(), status)
    t.same(await cli.whois(status.ips[0]!), await daemon.whois(status.ips[0]!))
    t.match(await cli.version(), /^\d+\.\d+\.\d+/)
  })

  for (const kind of ['unix', 'tcp'] as const) {
    await t.test(`a managed route reaches a ${kind} backend, says who comes, and goes`, async (t) => {
      if (kind === 'unix' && !supportsUnixTarget(await cli.version())) return t.comment('too old for unix: targets')
      const seen: { request: IncomingMessage; owner: unknown }[] = []
      const server = createServer(async (request, response) => {
        seen.push({ request, owner: await socketOwner(request.socket) })
        response.end('ok')
      })
      server.listen(kind === 'unix' ? { path: join(tempDir(t), 'b.sock') } : { port: 0, host: '127.0.0.1' })
      await once(server, 'listening')
      const address = server.address() as AddressInfo | string
      const target = typeof address === 'string' ? `unix:${address}` : String(address.port)

      const { onChange, when, states } = watchStates()
      const exposure = startExposure({ mode: 'serve', daemon, target: async () => target, log: quiet, onChange })
      t.teardown(async () => {
        await exposure.stop()
        server.closeAllConnections()
        server.close()
      })
      const active = await when(({ phase }) => phase === 'active' || phase === 'retrying')
      t.equal(active.error, undefined)
      t.equal(active.url, `https://${(await daemon.status()).dnsName}/`)
      t.equal((await subject.get(active.url!)).status, 200)

      const { request, owner } = seen[0]!
      const { headers } = request
      t.equal(headers['x-forwarded-proto'], 'https')
      t.equal(headers['x-forwarded-host'], new URL(active.url!).host)
      if (kind === 'unix') t.equal(headers.host, 'localhost')
      const peer = await daemon.whois(String(headers['x-forwarded-for']))
      t.ok(peer !== undefined, 'whois knows the forwarded address')
      t.equal(headers['tailscale-user-login'], peer!.tagged ? undefined : peer!.login, 'and its login is the header')
      if (kind === 'tcp' && process.platform === 'linux') {
        const allowed = [0, (await daemon.user()) ?? process.getuid!()]
        t.ok(allowed.includes(owner as number), 'the connection is root’s or tailscaled’s')
      }

      await exposure.stop()
      t.match(states.at(-1), { actual: 'off', phase: 'stopped' })
      t.notMatch(await cli.serveStatus(), target, 'the route is gone')
    })
  }
}
