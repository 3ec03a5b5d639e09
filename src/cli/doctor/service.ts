import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { envValue } from '../../config/paths.ts'
import { type Check, subject } from './check.ts'
import { type DoctorContext, isRemote } from './context.ts'

const service = subject('service', 'Service')

type ServiceContext = Pick<DoctorContext, 'env' | 'config' | 'source' | 'running' | 'deep'>

/** The service that keeps the gateway running, where one is installed. Looks, and starts nothing. */
export async function serviceChecks(context: ServiceContext, system = process.platform): Promise<Check[]> {
  if (isRemote(context)) return [service.skipped('gateway.mode is "remote": none is expected on this host')]
  if (system === 'linux') return systemd(context)
  if (system === 'darwin') return launchd(context)
  return [service.skipped(`services of ${system} are not looked at`)]
}

/** How the service of this profile differs from what this command would install. */
export async function driftChecks(context: DoctorContext): Promise<Check[]> {
  if (isRemote(context)) return []
  const { gatewayService, REINSTALL } = await import('../service/gateway.ts')
  // A system whose services are not supported is told of above.
  const found = await gatewayService(context.io).catch(() => undefined)
  if (found === undefined) return []
  const { path } = found.status
  return found.drift.map(({ message }) => service.warning(message, { path, fix: REINSTALL }))
}

async function systemd(context: ServiceContext): Promise<Check[]> {
  const { user, whole } = await gatewayUnits(context)
  if (user.length + whole.length === 0) {
    return [service.skipped('no systemd unit openclaw-gateway*.service is installed: it runs where it is started')]
  }
  return Promise.all([
    ...user.map((unit) => unitCheck(context, unit, ['--user'])),
    ...whole.map((unit) => unitCheck(context, unit, []))
  ])
}

/** The units of systemd that look like a gateway's: this user's and, on a deep look, the whole system's. */
export async function gatewayUnits({ env, deep }: Pick<ServiceContext, 'env' | 'deep'>) {
  const home = envValue(env, 'XDG_CONFIG_HOME') ?? join(env.HOME ?? '/', '.config')
  const user = await named([join(home, 'systemd/user'), '/etc/systemd/user'], /^openclaw-gateway.*\.service$/)
  return { user, whole: deep ? await named(['/etc/systemd/system'], /^openclaw.*\.service$/) : [] }
}

async function unitCheck({ env, running }: ServiceContext, unit: string, scope: string[]): Promise<Check> {
  const command = ['systemctl', ...scope]
  const answer = await ask([...command, 'is-active', unit], env)
  if (answer === undefined) return service.skipped(`${unit} is installed, and there is no systemctl to ask`)
  if (answer.stdout === 'active') return service.ok(`${unit} is active`)
  if (!/^(inactive|failed|activating|deactivating|reloading)$/.test(answer.stdout)) {
    return service.skipped(`${unit} is installed, and systemd does not answer (${answer.stderr || 'no reason given'})`)
  }
  const beside = running.running ? ', and the gateway runs beside it' : ''
  const fix = [...command, answer.stdout === 'failed' ? 'restart' : 'start', unit].join(' ')
  return service.warning(`${unit} is ${answer.stdout}${beside}`, { path: unit, ...(running.running ? {} : { fix }) })
}

async function launchd({ env, running }: ServiceContext): Promise<Check[]> {
  const folder = join(env.HOME ?? '/', 'Library/LaunchAgents')
  const agents = await named([folder], /^ai\.openclaw\.gateway.*\.plist$/)
  if (agents.length === 0) {
    return [service.skipped('no LaunchAgent ai.openclaw.gateway is installed: it runs where it is started')]
  }
  return Promise.all(
    agents.map(async (file) => {
      const label = file.replace(/\.plist$/, '')
      const target = `gui/${userInfo().uid}/${label}`
      const answer = await ask(['launchctl', 'print', target], env)
      if (answer === undefined) return service.skipped(`${label} is installed, and there is no launchctl to ask`)
      if (/\bstate = running\b/.test(answer.stdout)) return service.ok(`${label} is running`)
      const beside = running.running ? ', and the gateway runs beside it' : ''
      return service.warning(`${label} is installed and not running${beside}`, {
        path: join(folder, file),
        fix: `launchctl kickstart ${target}`
      })
    })
  )
}

async function named(folders: readonly string[], pattern: RegExp): Promise<string[]> {
  const lists = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])))
  return [...new Set(lists.flat().filter((name) => pattern.test(name)))].slice(0, 8)
}

async function ask(
  [program = '', ...args]: string[],
  env: DoctorContext['env']
): Promise<{ stdout: string; stderr: string } | undefined> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { env: { ...env }, timeout: 2_000 })
    return { stdout: stdout.trim(), stderr: stderr.trim() }
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
    if (code === 'ENOENT') return undefined
    // An inactive unit is told by the exit code too.
    return { stdout: stdout.trim(), stderr: (stderr.trim().split('\n')[0] ?? '').slice(0, 200) }
  }
}
