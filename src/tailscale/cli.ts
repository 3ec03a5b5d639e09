import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, join } from 'node:path'
import { canonicalAddress } from '../auth/addresses.ts'
import type { Env } from '../config/paths.ts'
import { parseStatus, parseWhois, type TailnetIdentity, type TailscaleStatus } from './answers.ts'
import { NOT_RUNNING, printable, TailscaleError } from './errors.ts'

const TIMEOUT_MS = 5_000
// The status of a large tailnet: about 2 KB for each of some thousand peers.
const MAX_BYTES = 16 * 1024 * 1024

/** Where Tailscale is, as the configuration and the environment say. */
export interface TailscalePlace {
  /** `PATH` finds the command. */
  env: Env
  /** `gateway.tailscale.socket`; undefined for the usual place. */
  socket: string | undefined
}

/** A program and what it is started with. */
export interface Command {
  file: string
  args: readonly string[]
  env: Record<string, string>
}

/** The `tailscale` command: run without a shell, for a bounded time, with a bounded answer. */
export class TailscaleCli {
  #place: TailscalePlace

  constructor(place: TailscalePlace) {
    this.#place = place
  }

  /** What to start for `tailscale …`; rejects with `TAILSCALE_MISSING` when it is not on PATH. */
  async command(...args: string[]): Promise<Command> {
    const { env, socket } = this.#place
    const where = socket === undefined ? [] : ['--socket', socket]
    return { file: await findTailscale(env.PATH ?? ''), args: [...where, ...args], env: environment(env) }
  }

  async version(signal?: AbortSignal): Promise<string> {
    const [first = ''] = (await this.#run(['version'], signal)).split('\n')
    return printable(first.slice(0, 100))
  }

  async status(signal?: AbortSignal): Promise<TailscaleStatus> {
    return parseStatus(await this.#run(['status', '--json'], signal))
  }

  /** The configuration of Serve and Funnel, as JSON text. */
  serveStatus(signal?: AbortSignal): Promise<string> {
    return this.#run(['serve', 'status', '--json'], signal)
  }

  /** Whom an address belongs to; undefined for nobody. */
  async whois(address: string): Promise<TailnetIdentity | undefined> {
    // Only an address gets this far, so none can pass for an option.
    const canonical = canonicalAddress(address)
    if (canonical === undefined) return undefined
    try {
      return parseWhois(await this.#run(['whois', '--json', canonical]))
    } catch (error) {
      if (error instanceof Error && /peer not found|no match for/i.test(error.message)) return undefined
      throw error
    }
  }

  async #run(args: string[], signal?: AbortSignal): Promise<string> {
    const command = await this.command(...args)
    return new Promise((resolve, reject) => {
      const options = {
        env: command.env,
        encoding: 'utf8',
        timeout: TIMEOUT_MS,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_BYTES,
        ...(signal === undefined ? {} : { signal })
      } as const
      const child = execFile(command.file, command.args, options, (error, stdout, stderr) => {
        if (error === null) return resolve(stdout)
        const words = printable(stderr) || printable(stdout)
        const why = error.killed === true ? `took longer than ${TIMEOUT_MS} ms` : words || `failed (${error.code})`
        const code = NOT_RUNNING.test(words) ? 'TAILSCALE_MISSING' : 'TAILSCALE_FAILED'
        reject(new TailscaleError(code, `tailscale ${args[0]}: ${why}`, { cause: error }))
      })
      child.stdin?.on('error', () => {}).end()
    })
  }
}

// A relative entry of PATH means another program in every folder.
async function findTailscale(path: string): Promise<string> {
  for (const folder of path.split(delimiter)) {
    if (!isAbsolute(folder)) continue
    const file = join(folder, 'tailscale')
    const runs = await access(file, constants.X_OK).then(
      () => true,
      () => false
    )
    if (runs && (await stat(file)).isFile()) return file
  }
  throw new TailscaleError('TAILSCALE_MISSING', 'the tailscale command is not on PATH')
}

// Our own environment may hold the gateway's secret, and tailscale needs none of it.
function environment(env: Env): Record<string, string> {
  const names = ['PATH', 'HOME', 'USER', 'TMPDIR']
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
}
