import { basePath } from './place.ts'

// Browser storage belongs to one origin; the base path tells two gateways behind the same origin apart.
const deviceTokenKey = `control${basePath}:device-token`
const secretKey = `control${basePath}:secret`

/** The token of this browser, kept until sign-out. */
export const deviceToken = slot(() => window.localStorage, deviceTokenKey)

/** The shared secret, kept for this tab only. */
export const sharedSecret = slot(() => window.sessionStorage, secretKey)

/** What a launch link carries in its fragment. */
export interface LaunchFragment {
  bootstrapToken?: string
  token?: string
}

/** Takes the credential out of the address bar, before anything else can read or keep it. */
export function takeLaunchFragment(): LaunchFragment {
  const { hash, pathname, search } = window.location
  const params = new URLSearchParams(hash.slice(1))
  const bootstrapToken = params.get('bootstrapToken')?.trim()
  const token = params.get('token')?.trim()
  if (params.has('bootstrapToken') || params.has('token')) {
    window.history.replaceState(window.history.state, '', pathname + search)
  }
  return { ...(bootstrapToken ? { bootstrapToken } : {}), ...(token ? { token } : {}) }
}

interface Slot {
  get(): string | undefined
  set(value: string): void
  clear(): void
}

// Storage may be switched off: then a credential lives as long as the page.
function slot(storage: () => Storage, key: string): Slot {
  let memory: string | undefined
  const attempt = <T>(use: () => T): T | undefined => {
    try {
      return use()
    } catch {
      return undefined
    }
  }
  return {
    get: () => attempt(() => storage().getItem(key)) ?? memory,
    set(value) {
      memory = value
      attempt(() => storage().setItem(key, value))
    },
    clear() {
      memory = undefined
      attempt(() => storage().removeItem(key))
    }
  }
}
