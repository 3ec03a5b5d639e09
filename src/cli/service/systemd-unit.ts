import { MARK, refuseControls, type ServiceCommand, type ServiceSpec } from './service.ts'

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
    `ExecStart=${spec.argv.map((word, at) => quoted(word, at > 0)).join(' ')}`,
    ...environment,
    'WorkingDirectory=~',
    'Restart=always',
    'RestartSec=5',
    // A configuration that cannot work does not come to work by being tried again.
    'RestartPreventExitStatus=78',
    // It ends what it runs itself; what is left after that is ended for it.
    'KillMode=mixed',
    'TimeoutStopSec=20',
    // Not more: whatever else confines a user's service also keeps what it starts (sudo, op, tailscale) from working.
    ...(spec.confidential === true ? ['LimitCORE=0', 'UMask=0077'] : []),
    '',
    '[Install]',
    'WantedBy=default.target',
    ''
  ].join('\n')
}

/** Reads back what a unit of ours starts. */
export function unitCommand(text: string): ServiceCommand {
  const lines = (key: string) => [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value!)
  const [program, ...rest] = lines('ExecStart').flatMap(words)
  const argv = [...(program === undefined ? [] : [program]), ...rest.map((word) => word.replaceAll('$$', '$'))]
  const pairs = lines('Environment').flatMap(words)
  return { argv, env: Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s) as [string, string])) }
}

function words(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) =>
    word!.replaceAll(/\\(.)/g, '$1').replaceAll('%%', '%')
  )
}

// systemd.service(5): in quotes a backslash escapes, % is a specifier everywhere, and $ a variable in what a program is told.
function quoted(word: string, told: boolean): string {
  const escaped = escapePercent(word).replaceAll('\\', '\\\\').replaceAll('"', '\\"')
  return `"${told ? escaped.replaceAll('$', '$$$$') : escaped}"`
}

function escapePercent(text: string): string {
  return text.replaceAll('%', '%%')
}
