import { type GatewayError, refusalDetails } from '../client/core.ts'
import { type Credentials, resolveCredentials } from '../client/credentials.ts'
import { loadConfig } from '../config/load.ts'
import type { Env } from '../config/paths.ts'
import type { Paths } from '../config/types.ts'
import type { AuthClaim } from '../protocol/frames.ts'
import { type NodeTarget, refuseReplaced } from './target.ts'

/** Where a device token is kept; undefined forgets it. */
export type KeepToken = (token: string | undefined) => Promise<void>

/** What lets a node in the first time, and only then. */
export interface Bootstrap {
  token: string
  /** It let this node in. */
  accepted(): Promise<void>
  /** It never will. */
  refused(error: GatewayError): void
}

/** What a node proves itself with: its device token once it has one, and before that the configured credential (R27). */
export class NodeCredentials {
  readonly #target: NodeTarget
  readonly #env: Env
  readonly #paths: Paths
  readonly #keep: KeepToken
  #deviceToken: string | undefined
  #bootstrap: Bootstrap | undefined
  #sent: 'device-token' | 'shared' | 'bootstrap' = 'shared'
  #retryWithDeviceToken = false
  /** One after the other: what is forgotten must not overtake what is kept. */
  #keeping: Promise<void> = Promise.resolve()

  constructor(input: {
    target: NodeTarget
    env: Env
    paths: Paths
    deviceToken: string | undefined
    keep: KeepToken
    bootstrap?: Bootstrap | undefined
  }) {
    this.#bootstrap = input.bootstrap
    this.#target = input.target
    this.#env = input.env
    this.#paths = input.paths
    this.#deviceToken = input.deviceToken
    this.#keep = input.keep
  }

  /** The claim for the next `connect`. The configuration is read anew, so that a repaired credential is used at once. */
  async claim(): Promise<AuthClaim | undefined> {
    if (this.#bootstrap !== undefined) {
      this.#sent = 'bootstrap'
      return { bootstrapToken: this.#bootstrap.token }
    }
    // What somebody put into the environment is meant for this run; but it never goes to the gateway of a setup code.
    const paired = this.#target.destination === 'explicit'
    const useDeviceToken = paired || this.#retryWithDeviceToken || !overridden(this.#env)
    this.#retryWithDeviceToken = false
    if (useDeviceToken && this.#deviceToken !== undefined) {
      this.#sent = 'device-token'
      return { deviceToken: this.#deviceToken }
    }
    this.#sent = 'shared'
    const { token, password } = await this.#resolve()
    if (token !== undefined) return { token: token.value }
    return password === undefined ? undefined : { password: password.value }
  }

  /** Keeps the device token that came with a connection. */
  async accepted(deviceToken: string | undefined): Promise<void> {
    const bootstrap = this.#bootstrap
    this.#bootstrap = undefined
    if (deviceToken !== undefined && deviceToken !== this.#deviceToken) {
      this.#deviceToken = deviceToken
      await this.#store(deviceToken)
    }
    await bootstrap?.accepted()
  }

  /** Learns from a refusal; reports whether there is another credential to try at once. */
  refused(error: GatewayError): boolean {
    const { code = '', recommendedNextStep } = refusalDetails(error)
    if (this.#sent === 'bootstrap') {
      if (code.startsWith('AUTH_')) this.#bootstrap?.refused(error)
      return false
    }
    if (this.#sent === 'device-token') {
      if (code !== 'AUTH_DEVICE_TOKEN_MISMATCH') return false
      // Revoked, rotated or removed: it will never be right again.
      this.#deviceToken = undefined
      this.#store(undefined).catch(() => {})
      return true
    }
    this.#retryWithDeviceToken = recommendedNextStep === 'retry_with_device_token' && this.#deviceToken !== undefined
    return this.#retryWithDeviceToken
  }

  #store(token: string | undefined): Promise<void> {
    this.#keeping = this.#keeping.catch(() => {}).then(() => this.#keep(token))
    return this.#keeping
  }

  async #resolve(): Promise<Pick<Credentials, 'token' | 'password'>> {
    if (this.#target.destination === 'explicit') return { token: undefined, password: undefined }
    const config = await loadConfig({ env: this.#env, paths: this.#paths, client: true })
    refuseReplaced(this.#target, config)
    const { mode, modeExplicit } = config.gateway.auth
    return resolveCredentials({
      destination: this.#target.destination,
      purpose: 'node-host',
      explicit: {},
      env: this.#env,
      fileSecret: config.fileSecret,
      authMode: modeExplicit ? mode : undefined
    })
  }
}

function overridden({ OPENCLAW_GATEWAY_TOKEN, OPENCLAW_GATEWAY_PASSWORD }: Env): boolean {
  return [OPENCLAW_GATEWAY_TOKEN, OPENCLAW_GATEWAY_PASSWORD].some((value) => value !== undefined && value.trim() !== '')
}
