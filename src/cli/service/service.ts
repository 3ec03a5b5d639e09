import { existsSync, readFileSync } from 'node:fs'
import { CliError } from '../io.ts'

/** A command of ours that the system keeps running. */
export interface ServiceSpec {
  /** `node`, `gateway`, …: what tells it from our other services. */
  kind: string
  /** The profile that it belongs to; undefined for the default one. */
  profile: string | undefined
  description: string
  /** Absolute program, and its arguments. None of them is a secret: every user of the machine can read them. */
  argv: readonly string[]
  /** What it needs of the environment. None of it is a secret: it stands in the service's file. */
  env: Readonly<Record<string, string>>
  /** Where its output goes, for a system that keeps none itself. */
  logDir: string
  /** Set for what holds secrets in memory and on disk: no core dump, and files for its owner alone. */
  confidential?: boolean
  /** The whole text of the service's file, where it is given and not made of the above. */
  file?: string | undefined
}

/** What a service's file starts. */
export type ServiceCommand = Pick<ServiceSpec, 'argv' | 'env'>

/** The names of a service. */
export type ServiceName = Pick<ServiceSpec, 'kind' | 'profile'>

/** Whether a service is there, and what it does. */
export interface ServiceStatus {
  /** Its name to the system. */
  name: string
  /** Its file. */
  path: string
  installed: boolean
  /** Reports whether it starts by itself. */
  loaded: boolean
  runtime: {
    status: 'running' | 'stopped' | 'unknown'
    pid?: number
    detail?: string
    /** Reports whether it ended by itself, and badly. */
    failed?: boolean
  }
}

/** The part of the system that keeps services running. */
export interface ServiceManager {
  label: 'systemd' | 'launchd'
  /** Throws a CliError that says what is missing when no service can be installed here. */
  check(): Promise<void>
  status(name: ServiceName): Promise<ServiceStatus>
  /** The text of the service's file. */
  text(spec: ServiceSpec): string
  /** What the file starts that stands there now; undefined without one, or where it is not ours. */
  command(name: ServiceName): ServiceCommand | undefined
  /** The last lines that the service printed. */
  output(name: ServiceName, lines: number): Promise<string[]>
  /** The command that shows what the service prints. */
  outputCommand(name: ServiceName): string
  /** Writes the file, and starts the service; returns what its owner should know. */
  install(spec: ServiceSpec): Promise<string[]>
  start(name: ServiceName): Promise<void>
  restart(name: ServiceName): Promise<void>
  stop(name: ServiceName): Promise<void>
  uninstall(name: ServiceName): Promise<void>
}

/**
 * The manager of this system; throws a CliError where there is none that is known. `foreground` is the command that does the
 * same without one.
 */
export async function serviceManager(
  env: NodeJS.ProcessEnv,
  foreground: string,
  system: string = process.platform
): Promise<ServiceManager> {
  if (system === 'linux') return (await import('./systemd.ts')).systemd(env, foreground)
  if (system === 'darwin') return (await import('./launchd.ts')).launchd(env)
  throw new CliError('SERVICE_UNSUPPORTED', `services of ${system} are not supported`, {
    fix: `run "${foreground}" under a supervisor of your own`
  })
}

/** Reports whether a service's file is ours, and may be written anew. */
export function isOurs(text: string, spec: ServiceSpec): boolean {
  return text.includes(MARK) || text === spec.file
}

/** Refuses to remove a service that somebody else wrote: what stands in its file may stand nowhere else. */
export function refuseForeign(manager: ServiceManager, name: ServiceName, { path, installed }: ServiceStatus): void {
  if (!installed || manager.command(name) !== undefined) return
  throw new CliError('SERVICE_FOREIGN', `${path} was not written by this command, and stays`, {
    fix: `openclaw ${name.kind} stop, and then by hand: rm ${path}`
  })
}

/** The text of a service's file; empty where there is none. */
export function fileText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/** Fails for text that a service file cannot hold. */
export function refuseControls(spec: ServiceSpec): void {
  const words = [...spec.argv, ...Object.entries(spec.env).flat(), spec.description]
  if (words.every((word) => !/\p{Cc}/u.test(word))) return
  throw new CliError('USAGE', 'an option or a path holds a control character; a service file cannot')
}

/** What every file of ours begins with, after the comment sign. */
export const MARK = 'Written by openclaw, which writes it anew when the service is installed again.'
