import { writeFileSync } from 'node:fs'
import t from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { TOKEN, tempDir } from '../support/gateway.ts'
import { makeLan, runOn, startOnLan } from '../support/lan.ts'
import { cannotMakeMachines } from '../support/netns.ts'
import { noSshd, sshFile, startSshd, withOwnSshFolder } from '../support/sshd.ts'

t.setTimeout(110_000)

const reason = noSshd || (cannotMakeMachines() ?? false)
if (reason !== false) t.plan(0, reason)
else withOwnSshFolder(t, import.meta.filename, tests)

function tests(): void {
  t.test('S15: gateway probe --ssh-auto', async (t) => {
    const [one, two, three] = makeLan(t, 3)
    const env = cleanEnv(tempDir(t))
    const probe = async (...words: string[]) => {
      const { stdout, all } = await runOn(t, two, ['gateway', 'probe', '--ssh-auto', '--json', ...words], env)
      return { all, ...JSON.parse(stdout) }
    }
    t.match(await probe(), {
      warnings: [{ code: 'ssh_auto_undecided' }, {}],
      discovery: { count: 0, timeoutMs: 1_200 }
    })

    await startOnLan(t, one, { port: 18_795 }).then(({ said }) => said('announced on the local network'))
    const sshd = await startSshd(t, { on: { machine: one, address: '10.79.0.1' } })
    const words = ['--ssh-identity', sshd.identity, '--token', TOKEN]
    writeFileSync(sshFile('known_hosts'), '')
    const stranger = await probe(...words)
    t.match(stranger.warnings[0], { code: 'ssh_tunnel_failed', message: /host key/i }, 'a host that is not known')
    t.match(stranger.discovery, { count: 1, beacons: [{ host: /\.local$/, port: 18_795 }] })

    writeFileSync(sshFile('known_hosts'), `${sshd.hostLine}\n`)
    const known = await probe(...words)
    t.match(known.all, /^found 10\.79\.0\.1: trying it through ssh$/m, 'is said before anything is tried')
    t.match(known, { ok: true, primaryTargetId: 'sshTunnel', targets: [{ connect: { ok: true, rpcOk: true } }] })
    const without = await probe('--ssh-identity', sshd.identity)
    t.match(
      without.error,
      { code: 'CREDENTIALS_MISSING' },
      'R22: no configured credential goes to a host that was found'
    )

    await startOnLan(t, three).then(({ said }) => said('announced on the local network'))
    const several = await probe(...words)
    t.match(several, { ok: false, discovery: { count: 2 } })
    t.match(several.warnings[0], { code: 'ssh_auto_undecided', message: /-2\.local.*choose one with --ssh/ })
  })
}
