import type { Facts } from './facts.ts'
import { type Finding, setFix } from './finding.ts'

/** What Tailscale opens, and to whom. */
export function tailscaleFindings({ gateway, platform }: Facts): Finding[] {
  if (gateway === undefined) return []
  const { tailscale, auth } = gateway
  const found: Finding[] = []
  if (tailscale.mode === 'funnel') {
    found.push({
      checkId: 'gateway.tailscale_funnel',
      severity: 'critical',
      title: 'The gateway is on the public internet',
      detail:
        'gateway.tailscale.mode is "funnel": anybody in the world can try the password, and names under ts.net are public.',
      remediation: 'Use "serve", which lets in the tailnet alone.',
      fix: setFix('gateway.tailscale.mode', 'serve')
    })
  }
  if (tailscale.mode === 'serve') {
    found.push({
      checkId: 'gateway.tailscale_serve',
      severity: 'info',
      title: 'The tailnet reaches the gateway',
      detail: `gateway.tailscale.mode is "serve"${auth.allowTailscale === false ? '' : ', and a tailnet login can stand for the token in the Control UI'}: the rules of the tailnet decide who gets that far.`,
      remediation: "Check the tailnet's access rules, above all for tagged and shared machines."
    })
  }
  if (tailscale.mode === 'off' && auth.allowTailscale === true) {
    const linux = platform === 'linux'
    found.push({
      checkId: 'gateway.tailscale_operator_serve',
      severity: linux ? 'info' : 'warn',
      title: 'Identity headers of Tailscale are believed on the main port',
      detail: `gateway.auth.allowTailscale is true while gateway.tailscale.mode is "off", for a "tailscale serve" run by hand: ${linux ? 'the sender must be a process of root or of tailscaled' : 'this system does not tell whose process the sender is'}, and the login is checked with the daemon.`,
      remediation: 'Let the gateway run Serve itself (gateway.tailscale.mode: "serve"), or turn the headers off.',
      fix: setFix('gateway.auth.allowTailscale', false)
    })
  }
  return found
}
