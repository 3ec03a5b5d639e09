import { backoff } from '../backoff.ts'
import { ClientError, mayPass } from '../errors.ts'
import { type Forwarding, startForwarding } from './forwarding.ts'
import { localEnd } from './local-end.ts'
import type { SshRoute } from './route.ts'
import { opensItself, sshSettings } from './settings.ts'

/** Where a tunnel that is kept up stands. */
export type TunnelState =
  | { phase: 'connecting' }
  | { phase: 'up'; pid: number }
  | { phase: 'waiting'; error: ClientError; retryInMs: number }
  /** It is up, and leads to nobody. */
  | { phase: 'trouble'; error: ClientError }

/** What keeps a tunnel up. */
export interface KeeperOptions {
  localPort: number
  env: Readonly<Record<string, string | undefined>>
  onState(state: TunnelState): void
}

/** Keeps a tunnel up: connects again whenever ssh ends, until `stop` or an end that another try cannot mend. */
export class TunnelKeeper {
  readonly #route: SshRoute
  readonly #options: KeeperOptions
  #forwarding: Forwarding | undefined
  #stopped = false
  #wake = () => {}

  constructor(route: SshRoute, options: KeeperOptions) {
    this.#route = route
    this.#options = options
  }

  /** Resolves after `stop`; rejects with a ClientError when the tunnel cannot come up. */
  async run(): Promise<void> {
    const { localPort, env, onState } = this.#options
    const opens = !opensItself(await sshSettings(this.#route.target, env), localPort, this.#route.remotePort)
    let attempt = 0
    while (!this.#stopped) {
      await this.#refuseTaken()
      onState({ phase: 'connecting' })
      const up = { was: false }
      const error = await this.#once(opens, up)
      if (this.#stopped) return
      if (up.was) attempt = 0
      if (!mayPass(error)) throw error
      const retryInMs = backoff(attempt++, { base: 500, cap: 30_000 })
      onState({ phase: 'waiting', error, retryInMs })
      await this.#sleep(retryInMs)
    }
  }

  /** Ends the tunnel. */
  stop(): void {
    this.#stopped = true
    this.#forwarding?.stop()
    this.#wake()
  }

  async #once(opens: boolean, up: { was: boolean }): Promise<ClientError> {
    const { localPort, env, onState } = this.#options
    let taken: ClientError | undefined
    const forwarding = startForwarding(this.#route, {
      localPort,
      opens,
      env,
      onReady: () => void check(),
      onTrouble: (error) => onState({ phase: 'trouble', error })
    })
    // ssh is content with ::1 alone, when somebody else took 127.0.0.1 meanwhile.
    const check = async (): Promise<void> => {
      const end = await localEnd(localPort)
      if (end.state === 'ssh' && end.pid === forwarding.pid) {
        up.was = true
        onState({ phase: 'up', pid: end.pid })
      } else if (!this.#stopped) {
        taken = portTaken(localPort, end.state === 'taken' ? end.who : 'another ssh')
        forwarding.stop()
      }
    }
    this.#forwarding = forwarding
    const error = await forwarding.ended
    return taken ?? error
  }

  async #refuseTaken(): Promise<void> {
    const { localPort } = this.#options
    const end = await localEnd(localPort)
    if (end.state === 'ssh') throw portTaken(localPort, `a tunnel that is up already (ssh, pid ${end.pid})`, end.pid)
    if (end.state === 'taken') throw portTaken(localPort, end.who)
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

function portTaken(port: number, who: string, pid?: number): ClientError {
  return new ClientError('SSH_PORT_TAKEN', `127.0.0.1:${port} is taken by ${who}`, {
    fix: pid === undefined ? `openclaw tunnel up --local-port ${port === 65_535 ? 18_790 : port + 1}` : `kill ${pid}`
  })
}
