import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { envValue } from '../../config/paths.ts'
import { CliError } from '../io.ts'
import { askTool, runTool } from './run-tool.ts'
import { fileText, isOurs, MARK, type ServiceManager, type ServiceName, type ServiceStatus } from './service.ts'
import { unitCommand, unitText } from './systemd-unit.ts'

/** systemd's manager of the user's own services. */
export function systemd(env: NodeJS.ProcessEnv, foreground: string): ServiceManager {
  const folder = join(envValue(env, 'XDG_CONFIG_HOME') ?? join(env.HOME ?? '/', '.config'), 'systemd/user')
  const unitOf = ({ kind, profile }: ServiceName) =>
    `openclaw-${kind}${profile === undefined ? '' : `-${profile}`}.service`
  const pathOf = (name: ServiceName) => join(folder, unitOf(name))
  const systemctl = (...args: string[]) => runTool('systemctl', ['--user', ...args], env)
  return {
    label: 'systemd',
    text: (spec) => spec.file ?? unitText(spec),
    command(name) {
      const text = fileText(pathOf(name))
      return text.includes(MARK) ? unitCommand(text) : undefined
    },
    async output(name, lines) {
      const words = ['--user', '-u', unitOf(name), '-n', String(lines), '-o', 'cat', '--no-pager', '-q']
      return (await askTool('journalctl', words, env)).stdout.split('\n').filter(Boolean)
    },
    outputCommand: (name) => `journalctl --user -u ${unitOf(name)} -e`,
    async check() {
      const answer = await askTool('systemctl', ['--user', 'show-environment'], env)
      if (answer.code === 0) return
      if (answer.code === undefined && /ENOENT/.test(answer.stderr)) {
        throw new CliError('SERVICE_UNSUPPORTED', 'there is no systemd on this machine to install a service with', {
          fix: `run "${foreground}" under a supervisor of your own`
        })
      }
      const { username, uid } = userInfo()
      const reason = answer.stderr.split('\n')[0]!.slice(0, 200)
      throw new CliError('SERVICE_UNSUPPORTED', `systemd does not answer for user ${username}: ${reason}`, {
        fix: `sudo loginctl enable-linger ${username} && export XDG_RUNTIME_DIR=/run/user/${uid}, then try again`
      })
    },
    async status(name): Promise<ServiceStatus> {
      const unit = unitOf(name)
      const path = pathOf(name)
      const installed = existsSync(path)
      const facts = { name: unit, path, installed }
      const keys = ['ActiveState', 'SubState', 'MainPID', 'UnitFileState', 'Result', 'ExecMainStatus']
      const answer = await askTool('systemctl', ['--user', 'show', `--property=${keys.join(',')}`, unit], env)
      if (answer.code !== 0) {
        const detail = answer.stderr.split('\n')[0]!.slice(0, 200)
        return { ...facts, loaded: false, runtime: { status: 'unknown', detail } }
      }
      const shown = new Map(answer.stdout.split('\n').map((line) => line.split(/=(.*)/s) as [string, string]))
      const state = shown.get('ActiveState') ?? ''
      const pid = Number(shown.get('MainPID') ?? 0)
      const [subState, result] = [shown.get('SubState'), shown.get('Result')]
      const exit = result === 'exit-code' ? `exit code ${shown.get('ExecMainStatus')}` : result
      const detail = [state, subState, exit].filter((part) => part && part !== 'success')
      const failed = state === 'failed' || subState === 'auto-restart'
      return {
        ...facts,
        loaded: installed && shown.get('UnitFileState') === 'enabled',
        runtime: {
          status: state === 'active' ? 'running' : 'stopped',
          ...(pid > 0 ? { pid } : {}),
          detail: detail.join(', '),
          ...(failed ? { failed } : {})
        }
      }
    },
    async install(spec) {
      const path = pathOf(spec)
      if (existsSync(path) && !isOurs(readFileSync(path, 'utf8'), spec)) {
        throw new CliError('SERVICE_FOREIGN', `${path} was not written by this command`, {
          fix: `mv ${path} ${path}.old`
        })
      }
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, spec.file ?? unitText(spec), { mode: 0o644 })
      await systemctl('daemon-reload')
      await systemctl('enable', unitOf(spec))
      await systemctl('restart', unitOf(spec))
      return lingerNote(env)
    },
    start: async (name) => void (await systemctl('start', unitOf(name))),
    restart: async (name) => void (await systemctl('restart', unitOf(name))),
    stop: async (name) => void (await systemctl('stop', unitOf(name))),
    async uninstall(name) {
      await systemctl('disable', '--now', unitOf(name))
      await rm(pathOf(name), { force: true })
      await systemctl('daemon-reload')
    }
  }
}

// Without lingering, a user's services end with their last session.
async function lingerNote(env: NodeJS.ProcessEnv): Promise<string[]> {
  const { username } = userInfo()
  const answer = await askTool('loginctl', ['show-user', username, '--property=Linger', '--value'], env)
  if (answer.code !== 0 || answer.stdout === 'yes') return []
  return [`it ends when ${username} logs out, unless you run: sudo loginctl enable-linger ${username}`]
}
