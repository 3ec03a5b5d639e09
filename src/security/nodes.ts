import type { Facts } from './facts.ts'
import { type Finding, keepFix, quoteAll, setFix } from './finding.ts'
import { reachOf } from './reach.ts'

/** The commands that nodes may run, and which nodes pair by themselves. */
export function nodeFindings(facts: Facts): Finding[] {
  const { gateway, config, addresses } = facts
  if (gateway === undefined) return []
  const { allow, deny, cidrs } = config.nodes
  const found: Finding[] = []
  const dangerous = allow.filter((command) => DANGEROUS_COMMANDS.has(command.trim()))
  if (dangerous.length > 0) {
    found.push({
      checkId: 'gateway.nodes.allow_commands_dangerous',
      severity: reachOf(gateway, addresses) === 'loopback' ? 'warn' : 'critical',
      title: 'Commands of nodes are allowed that watch, write or run',
      detail: `gateway.nodes.commands.allow has ${quoteAll(dangerous)}: whoever gets into the gateway gets at the cameras, messages or programs of its nodes.`,
      remediation: 'Remove what is not used every day.',
      fix: keepFix(
        'gateway.nodes.commands.allow',
        allow.filter((command) => !dangerous.includes(command))
      )
    })
  }
  const patterns = deny.filter((command) => !/^[a-z][\w-]*(\.[\w-]+)+$/i.test(command.trim()))
  if (patterns.length > 0) {
    found.push({
      checkId: 'gateway.nodes.deny_commands_ineffective',
      severity: 'warn',
      title: 'Denied node commands are not denied',
      detail: `gateway.nodes.commands.deny has ${quoteAll(patterns)}: entries are whole command names such as "camera.snap". These match nothing.`,
      remediation: 'Name each command in full.',
      fix: keepFix(
        'gateway.nodes.commands.deny',
        deny.filter((command) => !patterns.includes(command))
      )
    })
  }
  const wide = cidrs.filter(isWide)
  if (wide.length > 0) {
    found.push({
      checkId: 'gateway.nodes.auto_approve_cidrs_wide',
      severity: 'warn',
      title: 'Nodes of a whole network pair without being approved',
      detail: `gateway.nodes.pairing.autoApproveCidrs has ${quoteAll(wide)}.`,
      remediation: 'Name single addresses or one small subnet, and approve the rest by hand.',
      fix: keepFix(
        'gateway.nodes.pairing.autoApproveCidrs',
        cidrs.filter((cidr) => !wide.includes(cidr))
      )
    })
  }
  const pairs = gateway.nodes.pairing.autoApproveLocal
  // On by default, and harmless while a credential is asked for; written out, or without auth, it is to be known.
  if (pairs && (config.written.autoApproveLocal || gateway.auth.mode === 'none')) {
    found.push({
      checkId: 'gateway.nodes.auto_approve_local',
      severity: 'info',
      title: 'Devices of this host pair without being approved',
      detail:
        'gateway.nodes.pairing.autoApproveLocal is true: a program of this host that can sign in becomes a paired device silently.',
      remediation: 'Turn it off where several people use this host.',
      fix: setFix('gateway.nodes.pairing.autoApproveLocal', false)
    })
  }
  return found
}

// Those that the node command policy wants switched on by hand, and the one that runs programs.
const DANGEROUS_COMMANDS: ReadonlySet<string> = new Set([
  'calendar.add',
  'camera.clip',
  'camera.ptz.control',
  'camera.snap',
  'contacts.add',
  'health.summary',
  'reminders.add',
  'screen.record',
  'sms.search',
  'sms.send',
  'system.run'
])

function isWide(cidr: string): boolean {
  const [net = '', prefix] = cidr.split('/')
  return prefix !== undefined && Number(prefix) < (net.includes(':') ? 48 : 16)
}
