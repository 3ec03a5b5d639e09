import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { CliError } from '../io.ts'
import { plistCommand, plistText } from './launchd-plist.ts'
import { askTool, runTool } from './run-tool.ts'
import { fileText, isOurs, MARK, type ServiceManager, type ServiceName, type ServiceStatus } from './service.ts'

/** macOS's manager of the user's own services. */
export function launchd(env: NodeJS.ProcessEnv): ServiceManager {
  const domain = `gui/${userInfo().uid}`
  const labelOf = ({ kind, profile }: ServiceName) => `ai.openclaw.${kind}${profile === undefined ? '' : `.${profile}`}`
  const pathOf = (name: ServiceName) => join(env.HOME ?? '/', 'Library/LaunchAgents', `${labelOf(name)}.plist`)
  const targetOf = (name: ServiceName) => `${domain}/${labelOf(name)}`
  const launchctl = (...args: string[]) => runTool('launchctl', args, env)
  const loaded = async (name: ServiceName) => (await askTool('launchctl', ['print', targetOf(name)], env)).code === 0
  const logOf = (name: ServiceName) => plistCommand(fileText(pathOf(name))).log
  const load = (name: ServiceName) => launchctl('bootstrap', domain, pathOf(name))
  const unload = async (name: ServiceName) => {
    if (await loaded(name)) await launchctl('bootout', targetOf(name))
  }
  return {
    label: 'launchd',
    text: (spec) => spec.file ?? plistText(labelOf(spec), spec),
    command(name) {
      const text = fileText(pathOf(name))
      return text.includes(MARK) ? plistCommand(text) : undefined
    },
    async output(name, lines) {
      const log = logOf(name)
      return log === undefined ? [] : fileText(log).split('\n').filter(Boolean).slice(-lines)
    },
    outputCommand: (name) => `tail -n 50 ${logOf(name) ?? ''}`.trimEnd(),
    async check() {
      const answer = await askTool('launchctl', ['print', domain], env)
      if (answer.code === 0) return
      throw new CliError(
        'SERVICE_UNSUPPORTED',
        `launchd has no session for this user: ${answer.stderr.slice(0, 200)}`,
        {
          fix: 'log in at the desktop of this machine, then try again'
        }
      )
    },
    async status(name): Promise<ServiceStatus> {
      const facts = { name: labelOf(name), path: pathOf(name), installed: existsSync(pathOf(name)) }
      const answer = await askTool('launchctl', ['print', targetOf(name)], env)
      if (answer.code !== 0) return { ...facts, loaded: false, runtime: { status: 'stopped' } }
      const pid = /^\s*pid = (\d+)$/m.exec(answer.stdout)?.[1]
      const running = /^\s*state = running$/m.test(answer.stdout)
      const exit = running ? undefined : /^\s*last exit code = (\d+)/m.exec(answer.stdout)?.[1]
      return {
        ...facts,
        loaded: true,
        runtime: {
          status: running ? 'running' : 'stopped',
          ...(pid === undefined ? {} : { pid: Number(pid) }),
          ...(exit === undefined || exit === '0' ? {} : { detail: `exit code ${exit}`, failed: true })
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
      await mkdir(spec.logDir, { recursive: true, mode: 0o700 })
      await unload(spec)
      await writeFile(path, spec.file ?? plistText(labelOf(spec), spec), { mode: 0o644 })
      await load(spec)
      return []
    },
    start: async (name) => void (await ((await loaded(name)) ? launchctl('kickstart', targetOf(name)) : load(name))),
    restart: async (name) =>
      void (await ((await loaded(name)) ? launchctl('kickstart', '-k', targetOf(name)) : load(name))),
    stop: unload,
    async uninstall(name) {
      await unload(name)
      await rm(pathOf(name), { force: true })
    }
  }
}
