import { request } from 'node:https'
import t from 'tap'
import { TailscaleDaemon } from '../../src/tailscale/daemon.ts'
import { type Subject, tailscaledCases } from './cases.ts'

// Against a real tailscaled: a machine that is connected, with HTTPS enabled for its tailnet and port 443 free.
const socket = process.env.TAILSCALE_SOCKET

t.setTimeout(120_000)

if (socket === undefined || socket === '') {
  t.plan(0, 'skip: TAILSCALE_SOCKET names no socket of a tailscaled')
} else {
  const [own] = (await new TailscaleDaemon({ env: process.env, socket }).status()).ips
  const subject: Subject = {
    env: process.env,
    socket,
    // To the machine's own address, whether or not it resolves names of its tailnet.
    get: (url) =>
      new Promise((resolve, reject) => {
        const { hostname } = new URL(url)
        const options = { host: own, servername: hostname, headers: { host: hostname }, agent: false }
        const ask = request({ ...options, path: '/' }, (answer) => {
          answer.resume().on('end', () => resolve({ status: answer.statusCode ?? 0 }))
        })
        ask.on('error', reject).end()
      })
  }
  t.test(`the tailscaled at ${socket}`, (t) => tailscaledCases(t, subject))
}
