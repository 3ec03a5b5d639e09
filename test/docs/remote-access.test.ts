import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findProgram } from '../../scripts/debian.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { localEnd } from '../../src/client/ssh/local-end.ts'
import { MAIN, runCli } from '../support/cli.ts'
import { freePort, startApp, type TestApp, TOKEN, tempDir } from '../support/gateway.ts'
import { insideOwnSshFolder, noSshd, sshFile, startSshd, type TestSshd, withOwnSshFolder } from '../support/sshd.ts'

t.setTimeout(110_000)

const GUIDES = ['remote-access.md', 'remote-access.zh-CN.md']
const HOST = 'gateway-host'

/** The commands of a guide, one list for each of its blocks. */
function commandsOf(guide: string): string[][] {
  const text = readFileSync(new URL(`../../docs/${guide}`, import.meta.url), 'utf8')
  return [...text.matchAll(/^```(?:sh|bash)\n([\s\S]*?)^```$/gm)].map(([, block]) =>
    block!
      .replaceAll('\\\n', ' ')
      .split('\n')
      .map((line) => line.replace(/\s+# .*$/, '').trim())
      .filter((line) => line !== '')
  )
}

const blocks = GUIDES.flatMap((guide) => commandsOf(guide).map((lines) => ({ guide, lines })))
const all = [...new Set(blocks.flatMap(({ lines }) => lines))]

/** What Linux cannot run, or what needs somebody else's network; each is said, so that nothing is left out unseen. */
const ELSEWHERE = [/^launchctl /, /^tailscale /]

/** Commands that need something to act upon: their words are checked, and their own tests run them. */
const ACTS_ON_SOMETHING =
  /^openclaw (setup --(?!remote ssh:)|devices (approve|grant|revoke|reject)|nodes|node (run|install)|tunnel (install|restart|uninstall)$|gateway (discover( --zone)?|probe --ssh-auto)$)/

const isSetting = (line: string) => /^openclaw config (set|unset) /.test(line)

if (!insideOwnSshFolder) words()
if (noSshd !== false) t.test('the commands of the guides', { skip: noSshd }, async () => {})
else withOwnSshFolder(t, import.meta.filename, commands)

function words(): void {
  t.test('both guides have commands, and the Chinese one has none of its own', async (t) => {
    for (const guide of GUIDES) t.ok(commandsOf(guide).length > 10, guide)
    const english = new Set(commandsOf(GUIDES[0]!).flat())
    t.same(
      commandsOf(GUIDES[1]!)
        .flat()
        .filter((line) => !english.has(line)),
      []
    )
  })

  t.test('each openclaw command of the guides exists, with the options that it is given', async (t) => {
    for (const line of all.filter((each) => each.startsWith('openclaw '))) {
      const words = wordsOf(line).slice(1)
      const options = words.filter((word) => word.startsWith('--')).map((word) => word.split('=')[0]!)
      t.ok(
        COMMANDS.some(({ name }) => name === words[0]),
        line
      )
      const end = words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word))
      const { out, code } = await runCli({ HOME: '/nowhere' }, [
        ...words.slice(0, end === -1 ? 3 : Math.min(end, 3)),
        '--help'
      ])
      t.equal(code, 0, line)
      for (const option of options) t.ok(out.includes(option), `${option} in: ${line}`)
    }
  })

  t.test('each block of settings is one that the configuration takes', async (t) => {
    for (const { guide, lines } of blocks.filter(({ lines }) => lines.some(isSetting))) {
      const home = tempDir(t)
      mkdirSync(join(home, '.openclaw'), { mode: 0o700 })
      // Where a password is meant, one is there; nothing else is taken for granted.
      const auth = {
        mode: 'token',
        token: TOKEN,
        ...(lines.some((line) => line.includes('password')) ? { password: TOKEN } : {})
      }
      const file = join(home, '.openclaw/openclaw.json')
      writeFileSync(file, JSON.stringify({ gateway: { mode: 'local', auth } }), { mode: 0o600 })
      for (const line of lines.filter(isSetting)) {
        const words = wordsOf(line.replace('sha256:…', `sha256:${'ab'.repeat(32)}`)).slice(1)
        const { code, err } = await runCli({ HOME: home }, words)
        t.equal(code, 0, `${guide}: ${line}\n${err}`)
      }
    }
  })
}

function commands(): void {
  t.test('the commands of the guides do what they say', async (t) => {
    const here = await scene(t)
    const run: [pattern: RegExp, how: (line: string) => Promise<void>][] = [
      [
        /^ssh -N /,
        (line) =>
          here.whileTunnel(line, () =>
            here.succeeds('openclaw gateway health --url ws://127.0.0.1:18789 --token "<your-token>"', /healthy/)
          )
      ],
      [/^ssh-copy-id /, (line) => here.succeeds(line, /./)],
      [/^ssh user@/, (line) => here.succeeds(`${line} </dev/null`, /^/)],
      [
        /^ps aux /,
        (line) => here.whileTunnel('ssh -N remote-gateway', () => here.succeeds(line, /ssh -N remote-gateway/))
      ],
      [/^lsof /, (line) => here.whileTunnel('ssh -N remote-gateway', () => here.succeeds(line, /ssh/))],
      [/^openclaw status --deep/, (line) => here.succeeds(line, /^Health +ok/m)],
      [
        /^openclaw gateway health --url /,
        (line) => here.whileTunnel(`ssh -N -L 18789:127.0.0.1:18789 user@${HOST}`, () => here.succeeds(line, /healthy/))
      ],
      [
        /^openclaw tunnel up$/,
        (line) => here.whileTunnel(line, () => here.succeeds('openclaw tunnel status', /^Local end .* up/m))
      ],
      [/^openclaw tunnel install --print$/, (line) => here.succeeds(line, /^ExecStart=.*remote-gateway/m)],
      [
        /^openclaw tunnel status$/,
        (line) => here.whileTunnel('openclaw tunnel up', () => here.succeeds(line, /answers through SSH/))
      ],
      [/^openclaw setup --remote ssh:/, (line) => here.setsUp(line)],
      [/^openclaw devices list$/, (line) => here.succeeds(line, /^/)]
    ]
    for (const line of all) {
      const [, how] = run.find(([pattern]) => pattern.test(line)) ?? []
      if (how !== undefined) {
        const [program = ''] = line.split(' ')
        if (['lsof', 'ps'].includes(program) && findProgram([program]) === undefined)
          t.comment(`there is no ${program} here`)
        else await how(line)
      } else if (ELSEWHERE.some((pattern) => pattern.test(line))) t.comment(`not run on Linux: ${line}`)
      else t.ok(isSetting(line) || ACTS_ON_SOMETHING.test(line), `a command that no test runs: ${line}`)
    }
  })
}

interface Scene {
  /** Runs a line of a guide, with this machine's names and ports in it. */
  succeeds(line: string, says: RegExp): Promise<void>
  /** Runs a line that sets up a host, on one that knows no gateway yet. */
  setsUp(line: string): Promise<void>
  /** Does something while a line keeps a tunnel up. */
  whileTunnel(line: string, work: () => Promise<void>): Promise<void>
}

/** A gateway on loopback, an sshd in front of it, and the machine of somebody who reads the guide. */
async function scene(t: Test): Promise<Scene> {
  const app = await startApp(t)
  const sshd = await startSshd(t)
  const home = tempDir(t)
  const bin = tempDir(t)
  const localPort = await freePort()
  const env = { PATH: `${bin}:${process.env.PATH}`, HOME: home }
  writeFileSync(join(bin, 'openclaw'), `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`, { mode: 0o755 })
  writeSsh(sshd, app, localPort)
  // ssh-copy-id works in the folder that HOME names.
  mkdirSync(join(home, '.ssh'), { mode: 0o700 })
  mkdirSync(join(home, '.openclaw'), { mode: 0o700 })
  const remote = { token: TOKEN, url: `ws://127.0.0.1:${localPort}`, sshTarget: HOST, remotePort: app.port }
  const gateway = { mode: 'remote', remote }
  writeFileSync(join(home, '.openclaw/openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })

  const here = (line: string) =>
    line
      .replace('18789:127.0.0.1:18789', `${localPort}:127.0.0.1:${app.port}`)
      .replaceAll('18789', String(localPort))
      .replace('~/.ssh/id_rsa', sshd.identity)
      .replaceAll('<REMOTE_USER>', userInfo().username)
      .replaceAll('<REMOTE_IP>', HOST)
      .replaceAll('user@', `${userInfo().username}@`)
      .replaceAll('<your-token>', TOKEN)

  return {
    async succeeds(line, says) {
      const { code, out } = await shell(here(line), env)
      t.equal(code, 0, `${line}\n${out}`)
      t.match(out, says, line)
    },
    async setsUp(line) {
      writeFileSync(join(home, 'gateway-token'), TOKEN, { mode: 0o600 })
      const fresh = { ...env, OPENCLAW_STATE_DIR: tempDir(t) }
      const { code, out } = await shell(`${here(line)} --remote-port ${app.port}`, fresh)
      t.equal(code, 0, `${line}\n${out}`)
      t.match(out, 'It works', line)
      t.match((await shell('openclaw health', fresh)).out, 'Gateway is healthy', 'and commands go there')
    },
    async whileTunnel(line, work) {
      const child = spawn('sh', ['-c', `exec ${here(line)}`], { env, stdio: 'ignore' })
      const ended = once(child, 'exit')
      try {
        await listens(localPort, ended)
        await work()
      } finally {
        child.kill()
        await ended
      }
      t.equal((await localEnd(localPort)).state, 'free', `closed: ${line}`)
    }
  }
}

function writeSsh({ hostLine, port, identity }: TestSshd, app: TestApp, localPort: number): void {
  const lines = [
    ...['Host gateway-host remote-gateway', 'HostName 127.0.0.1', `Port ${port}`, `IdentityFile ${identity}`],
    ...['Host remote-gateway', `LocalForward ${localPort} 127.0.0.1:${app.port}`]
  ]
  writeFileSync(sshFile('known_hosts'), `${hostLine}\n`)
  writeFileSync(sshFile('config'), `${lines.join('\n')}\n`, { mode: 0o600 })
}

function shell(line: string, env: NodeJS.ProcessEnv): Promise<{ code: number; out: string }> {
  return new Promise((resolve) => {
    execFile('sh', ['-c', line], { env, timeout: 20_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
      resolve({ code, out: `${stdout}${stderr}` })
    })
  })
}

// ssh says nothing when it listens; a connection is the only way to see it.
async function listens(port: number, ended: Promise<unknown>): Promise<void> {
  let gone = false
  void ended.then(() => {
    gone = true
  })
  while (!gone) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port })
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the tunnel ended before it was up')
}

/** The words of a line, as a shell takes it apart. */
function wordsOf(line: string): string[] {
  const script = 'for word in "$@"; do printf "%s\\0" "$word"; done'
  const text = execFileSync('sh', ['-c', `set -- ${line.replaceAll(/<([\w-]+)>/g, '$1')}\n${script}`], {
    encoding: 'utf8'
  })
  return text.split('\0').slice(0, -1)
}
