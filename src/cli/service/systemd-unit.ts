import { MARK, refuseControls, type ServiceSpec } from './service.ts'

/** The text of a systemd user unit that keeps a command running. */
export function unitText(spec: ServiceSpec): string {
  refuseControls(spec)
  const environment = Object.entries(spec.env).map(
    ([name, value]) => `Environment=${quoted(`${name}=${value}`, false)}`
  )
  return [
    `# ${MARK}`,
    '[Unit]',
    `Description=${escapePercent(spec.description)}`,
    '',
    '[Service]',
    `ExecStart=${spec.argv.map((word) => quoted(word, true)).join(' ')}`,
    ...environment,
    'WorkingDirectory=~',
    'Restart=always',
    'RestartSec=5',
    // A configuration that cannot work does not come to work by being tried again.
    'RestartPreventExitStatus=78',
    // It ends what it runs itself; what is left after that is ended for it.
    'KillMode=mixed',
    'TimeoutStopSec=20',
    '',
    '[Install]',
    'WantedBy=default.target',
    ''
  ].join('\n')
}

// systemd.service(5): in quotes a backslash escapes, % is a specifier everywhere, and $ a variable in commands.
function quoted(word: string, command: boolean): string {
  const escaped = escapePercent(word).replaceAll('\\', '\\\\').replaceAll('"', '\\"')
  return `"${command ? escaped.replaceAll('$', '$$$$') : escaped}"`
}

function escapePercent(text: string): string {
  return text.replaceAll('%', '%%')
}
