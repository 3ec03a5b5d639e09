import type { Facts } from './facts.ts'
import { type Finding, hostFix, setFix, unsetFix } from './finding.ts'

/** The file as such: whether it can be used, and the switches in it that say that they are dangerous. */
export function settingsFindings({ problems, config, gateway, configPath }: Facts): Finding[] {
  const found: Finding[] = []
  if (problems.length > 0) {
    const more = problems.length > 4 ? `\nand ${problems.length - 4} more` : ''
    found.push({
      checkId: 'config.invalid',
      severity: 'critical',
      title:
        gateway === undefined
          ? 'The configuration cannot be used: nothing in it was checked'
          : 'Parts of the configuration are invalid: they were not checked',
      detail: `${problems.slice(0, 4).join('\n')}${more}`,
      remediation: 'Repair the file, and run the audit again.',
      fix: hostFix('openclaw doctor --fix')
    })
  }
  for (const { key, value } of config.flags) {
    found.push({
      checkId: 'config.insecure_or_dangerous_flags',
      severity: 'warn',
      title: 'A dangerous switch is on',
      detail: `${key} is ${value} in ${configPath}: a way around a safeguard, meant for debugging.`,
      remediation: 'Remove it when the reason for it is gone.',
      fix: unsetFix(key)
    })
  }
  if (gateway?.reload.mode === 'off') {
    found.push({
      checkId: 'gateway.reload_off',
      severity: 'info',
      title: 'Changes of the file wait for a restart',
      detail:
        'gateway.reload.mode is "off": a token that was changed in the file stays valid until the gateway restarts.',
      remediation: 'Restart the gateway after a change, or let it watch the file.',
      fix: setFix('gateway.reload.mode', 'hybrid')
    })
  }
  return found
}

/** The gateway that this host's commands connect to. */
export function remoteFindings({ gateway, remoteProblem }: Facts): Finding[] {
  const url = URL.parse(gateway?.remote.url ?? '')
  if (remoteProblem === undefined) return []
  if (remoteProblem.code === 'URL_INSECURE' && url !== null) {
    return [
      {
        checkId: 'gateway.remote.plaintext',
        severity: 'critical',
        title: 'The remote gateway is public and unencrypted',
        detail: `gateway.remote.url is ${url.protocol}//${url.host}: anybody on the way could read the token. Commands of this build refuse to send it.`,
        remediation: `Use wss://, or an SSH tunnel: ssh -N -L 18789:127.0.0.1:18789 user@${url.hostname}`,
        fix: setFix('gateway.remote.url', `wss://${url.host}${url.pathname === '/' ? '' : url.pathname}`)
      }
    ]
  }
  return [
    {
      checkId: 'gateway.remote.url_invalid',
      severity: 'warn',
      title: 'The URL of the remote gateway cannot be used',
      detail: `gateway.remote.url: ${remoteProblem.message}.`,
      remediation: 'Set it to ws://127.0.0.1:18789 for an SSH tunnel, or to wss://HOST.',
      fix: setFix('gateway.remote.url', 'ws://127.0.0.1:18789')
    }
  ]
}
