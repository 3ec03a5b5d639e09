import type { Refusal } from './refusal.ts'

const MISSING_HEADER = 'trusted_proxy_missing_header_'

const elsewhere = 'Open this gateway at the address that its proxy serves.'
const again = 'Sign out at the proxy and in again, then reload this page.'
const sameMachine = {
  admin: 'a proxy on the gateway host connects to 127.0.0.1, and is trusted with this.',
  fix: onHost('openclaw config set gateway.auth.trustedProxy.allowLoopback true')
}

/** No credential makes up for these: the proxy named somebody, and it is nobody whom the gateway lets in. */
const final: Record<string, Refusal> = {
  trusted_proxy_user_not_allowed: {
    title: 'You are not on the list',
    text: 'The proxy knows you, but this gateway lets in certain users only.',
    advice: 'Sign in at the proxy as another user, or ask whoever runs the gateway to add you.',
    admin: 'this lists the users that it lets in.',
    fix: onHost('openclaw config get gateway.auth.trustedProxy.allowUsers')
  },
  trusted_proxy_assertion_invalid: {
    title: 'Your sign-in at the proxy does not hold',
    text: 'What the proxy signed about you has expired, or was not meant for this gateway.',
    advice: again,
    admin: 'this is what it checks the proxy’s word against.',
    fix: onHost('openclaw config get gateway.auth.trustedProxy.jwt')
  },
  trusted_proxy_assertion_mismatch: {
    title: 'The proxy names two users',
    text: 'What it signed names one, and a header beside it another.',
    advice: again,
    admin: 'this is where it looks for the user.',
    fix: onHost('openclaw config get gateway.auth.trustedProxy')
  }
}

const words: Record<string, Refusal> = {
  trusted_proxy_user_missing: {
    title: 'The proxy did not say who you are',
    text: 'Your request reached the gateway without a user.',
    advice: 'Sign in at the proxy, then reload this page.',
    admin: 'this names the header in which the proxy has to send the user.',
    fix: onHost('openclaw config get gateway.auth.trustedProxy.userHeader')
  },
  trusted_proxy_loopback_source: {
    title: 'The gateway does not trust its proxy',
    text: 'Your request came from the gateway host itself, and no proxy is trusted there.',
    advice: elsewhere,
    ...sameMachine
  },
  trusted_proxy_local_interface_source: {
    title: 'The gateway does not trust its proxy',
    text: 'Your request came from the gateway host itself, by one of its network addresses.',
    advice: elsewhere,
    ...sameMachine
  },
  trusted_proxy_local_interface_check_failed: {
    title: 'The gateway could not check its proxy',
    text: 'It could not read the addresses of its own machine.',
    advice: 'Reload this page in a moment.',
    admin: 'this finds out what is wrong.',
    fix: onHost('openclaw doctor')
  },
  trusted_proxy_untrusted_source: {
    title: 'This address leads past the proxy',
    text: 'The gateway learns from its proxy who you are, and your request did not come through one that it trusts.',
    advice: elsewhere,
    admin: 'if it did come through the proxy, that has to be one of these.',
    fix: onHost('openclaw config get gateway.trustedProxies')
  },
  unauthorized: {
    title: 'There is no way in from here',
    text: 'This gateway lets in the users of its own machine only.',
    advice: 'Open it there, or through an SSH tunnel.',
    admin: 'this is how it lets people in.',
    fix: onHost('openclaw config get gateway.auth.mode')
  }
}

// On the gateway host, or at the end of a tunnel, there is rarely a proxy in between.
const direct: Refusal = {
  title: 'This address leads past the proxy',
  text: 'The gateway learns from its proxy who you are, and here no proxy said so.',
  advice: `${elsewhere} Whoever is at the gateway host can also use a launch link or its password.`,
  fix: onHost('openclaw dashboard')
}

/** Why a caller whom no trusted front end vouched for was turned away; `local` pages come from the gateway host itself. */
export function proxyRefusal(reason: string, local: boolean): Refusal | undefined {
  if (final[reason]) return { ...final[reason], final: true }
  if (local && reason.startsWith('trusted_proxy_')) return direct
  if (!reason.startsWith(MISSING_HEADER)) return words[reason]
  return {
    title: 'The proxy left something out',
    text: `The gateway expects the header “${reason.slice(MISSING_HEADER.length)}” with every request, and it did not come.`,
    advice:
      'Sign in at the proxy and reload this page. If it stays, tell whoever runs the proxy the name of that header.',
    admin: 'this is what the proxy has to send.',
    fix: onHost('openclaw config get gateway.auth.trustedProxy')
  }
}

function onHost(command: string): NonNullable<Refusal['fix']> {
  return { command, where: 'gateway host' }
}
