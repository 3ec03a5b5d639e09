// A fake `tailscale` command: it records its arguments and asks the fake tailscaled. Run by the script that
// `startTailnet` puts on PATH, with the fake's folder as its first argument.
import type { TailnetFile } from './tailscaled.ts'

// Not imported: as ES modules they take longer than all the rest.
const { appendFileSync, readFileSync } = process.getBuiltinModule('node:fs')
const { request } = process.getBuiltinModule('node:http')

const [dir, ...argv] = process.argv.slice(2) as [string, ...string[]]
appendFileSync(`${dir}/calls`, `${JSON.stringify(argv)}\n`)
const settings = JSON.parse(readFileSync(`${dir}/settings.json`, 'utf8')) as TailnetFile

function fail(message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

function ask(path: string, onAnswer: (status: number, body: string) => void, onHeld?: () => void): void {
  const asking = request({
    socketPath: `${dir}/cli.sock`,
    path,
    agent: false,
    headers: { host: 'local-tailscaled.sock' }
  })
  asking.on('error', () => fail("failed to connect to local tailscaled; it doesn't appear to be running"))
  asking.on('response', (answer) => {
    let body = ''
    answer.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk
      if (answer.statusCode === 200) onHeld?.()
    })
    answer.on('end', () => onAnswer(answer.statusCode!, body))
    answer.on('error', () => fail('tailscaled went away'))
  })
  asking.end()
}

function print(status: number, body: string): void {
  if (status !== 200) fail(body)
  process.stdout.write(`${body}\n`)
}

// Held as long as tailscaled answers and nobody ends this process.
function claim(mode: string, target: string): void {
  if (settings.serveFails !== undefined) fail(settings.serveFails)
  const [major = 0, minor = 0] = settings.version.split('.').map(Number)
  if (target.startsWith('unix:') && (major < 1 || (major === 1 && minor < 94))) fail(`invalid target ${target}`)
  process.on('SIGTERM', () => {
    if (!settings.serveIgnoresTerm) process.exit(0)
  })
  const query = new URLSearchParams({ mode, target, pid: String(process.pid) })
  const ended = (status: number, body: string) => fail(status === 200 ? 'tailscaled went away' : body)
  ask(`/fake/claim?${query}`, ended, () => {
    if (settings.serveStalls) return
    const where = mode === 'serve' ? 'within your tailnet' : 'on the internet'
    process.stdout.write(`Available ${where}:\n\nhttps://${settings.name}/\n|-- proxy ${target}\n\n`)
    process.stdout.write('Press Ctrl+C to exit.\n')
  })
}

const args = argv[0] === '--socket' ? argv.slice(2) : argv
if (argv[0] === '--socket' && argv[1] !== `${dir}/tailscaled.sock`) {
  fail(`failed to connect to local tailscaled at ${argv[1]}; it doesn't appear to be running`)
}
const text = args.join(' ')
if (text === 'version') print(200, `${settings.version}\n  tailscale commit: fake\n  go version: none`)
else if (text === 'status --json') ask('/localapi/v0/status', print)
else if (text === 'serve status --json') ask('/fake/serve-status', print)
else if (args[0] === 'whois' && args[1] === '--json' && args.length === 3) {
  ask(`/localapi/v0/whois?addr=${encodeURIComponent(args[2]!)}`, (status, body) =>
    status === 404 ? fail('peer not found') : print(status, body)
  )
} else if (/^(serve|funnel) --yes --bg=false \S+$/.test(text)) claim(args[0]!, args[3]!)
else fail(`unknown arguments: ${text}`)
