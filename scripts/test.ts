import { ensureChromium } from './chromium.ts'
import { findProgram, installPackages } from './debian.ts'
import { ensureReference } from './reference.ts'
import { runTap } from './tap.ts'

const args = process.argv.slice(2)
const everything = !args.some((arg) => !arg.startsWith('-'))
const wants = (name: string) => everything || args.some((arg) => arg.includes(name))

if (wants('browser') || wants('proxies')) {
  const chromium = ensureChromium()
  if (chromium === undefined) {
    console.log('browser tests skipped: install Chromium or Chrome, or set CHROME_PATH, and run npm test again')
  } else {
    process.env.CHROME_PATH = chromium
  }
}
if (wants('proxies')) {
  // Each test that needs one of them says when it is not there.
  const missing = Object.entries({ nginx: 'nginx-light', caddy: 'caddy', ip: 'iproute2' })
    .filter(([program]) => findProgram([program]) === undefined)
    .map(([, name]) => name)
  if (missing.length > 0) installPackages(missing)
}
if ((wants('ssh') || wants('tunnel') || wants('docs')) && findProgram(['sshd']) === undefined) {
  // It is started by hand, on loopback, with keys of its own; each test says when it is not there.
  installPackages(['openssh-server', 'openssh-client'])
}
if (args.some((arg) => arg.includes('real.tailscale')) && !process.env.TAILSCALE_SOCKET) {
  console.log('nothing was tested: set TAILSCALE_SOCKET to the socket of a real tailscaled, and run it again')
}
if (args.some((arg) => arg.includes('interop'))) {
  try {
    ensureReference()
  } catch (error) {
    console.log(`nothing was compared: ${(error as Error).message}`)
  }
}
const { passed, failed } = await runTap(args)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
