import { mkdirSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import type { Test } from 'tap'
import { findProgram, installPackages } from '../../scripts/debian.ts'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { ensureReference } from '../../scripts/reference.ts'
import { hostLabel } from '../../src/discovery/records.ts'
import { TOKEN, tempDir } from '../support/gateway.ts'
import { type Discovered, discover, makeLan, startOnLan } from '../support/lan.ts'
import { cannotMakeMachines, onMachine } from '../support/netns.ts'

const first = `${hostLabel(hostname())} (OpenClaw)`

/** On one network each side announces itself beside the other, and finds it. */
export async function discoveryTests(t: Test): Promise<void> {
  const reason = cannotMakeMachines()
  if (reason !== undefined) return t.plan(0, reason)
  const [one, two, three] = makeLan(t, 3)
  const cli = ensureReference()

  const home = tempDir(t)
  mkdirSync(path.join(home, '.openclaw'), { mode: 0o700 })
  const config = {
    gateway: { mode: 'local', bind: 'lan', port: 18_789, auth: { mode: 'token', token: TOKEN } },
    plugins: { entries: { bonjour: { enabled: true } } }
  }
  writeFileSync(path.join(home, '.openclaw/openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  // In a container it would keep silent by itself.
  const env = { ...cleanEnv(home), OPENCLAW_DISABLE_BONJOUR: '0' }
  await onMachine(t, one, [process.execPath, cli, 'gateway', 'run'], env).said('bonjour: advertised gateway')
  const theirs = await discover(t, three, '--timeout', '4000')
  t.match(theirs.beacons, [{ instanceName: first, wsUrl: 'ws://10.79.0.1:18789' }], 'ours finds the reference')

  const ours = await startOnLan(t, two, { port: 18_790 })
  await ours.said('announced on the local network')
  const both = await discover(t, three)
  const names = both.beacons.map(({ instanceName, wsUrl }) => `${wsUrl} ${instanceName}`)
  const wanted = [`ws://10.79.0.1:18789 ${first}`, `ws://10.79.0.2:18790 ${first} (2)`]
  t.same(names.toSorted(), wanted, 'ours leaves the name to the reference, which had it first')

  await t.test('the reference finds ours', { skip: noAvahi() }, async (t) => {
    const words = ['unshare', '--mount', 'sh', '-c', WITH_AVAHI, 'sh', process.execPath, cli]
    const { exited, output } = onMachine(t, three, words, cleanEnv(tempDir(t)))
    await exited
    const text = output('stdout')
    const { beacons } = JSON.parse(text.slice(text.indexOf('{\n'), text.lastIndexOf('}') + 1)) as Discovered
    const host = `${hostLabel(hostname())}-2.local`
    t.match(
      beacons.find(({ instanceName }) => instanceName === `${first} (2)`),
      { host, port: 18_790, txt: { role: 'gateway', transport: 'gateway', gatewayPort: '18790' } },
      text
    )
  })
}

// The reference asks avahi, which asks D-Bus: both get a /run of their own.
const WITH_AVAHI = `
mount -t tmpfs none /run && mkdir -p /run/dbus /run/avahi-daemon
cat > /run/dbus.conf <<END
<busconfig><type>session</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
END
dbus-daemon --config-file=/run/dbus.conf --nofork --nopidfile 2>/dev/null & bus=$!
until test -S /run/dbus/system_bus_socket; do sleep 0.05; done
avahi-daemon --no-drop-root --no-rlimits --no-chroot >/dev/null 2>&1 & avahi=$!
trap 'kill $bus $avahi' EXIT
until avahi-browse -pt _openclaw-gw._tcp | grep -q 2; do sleep 0.2; done
"$1" "$2" gateway discover --json
`

function noAvahi(): string | false {
  const there = () => ['avahi-daemon', 'avahi-browse', 'dbus-daemon'].every((name) => findProgram([name]) !== undefined)
  if (there() || (installPackages(['avahi-daemon', 'avahi-utils', 'dbus']) && there())) return false
  return 'needs avahi: apt-get install avahi-daemon avahi-utils dbus'
}
