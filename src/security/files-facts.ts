import { lstat, readlink, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isObject, valueAt } from '../config/key-path.ts'
import { expand } from '../config/paths.ts'
import type { Paths } from '../config/types.ts'

/** What a file or folder is to the gateway. */
export type FileRole =
  | 'state_parent'
  | 'state_dir'
  | 'config'
  | 'config_backup'
  | 'config_include'
  | 'dotenv'
  | 'database'
  | 'logs_dir'
  | 'log_file'
  | 'credentials_dir'
  | 'local_socket'
  | 'tls_key'
  | 'secret_file'
  | 'secret_command'

/** One file or folder as the file system has it. */
export interface FileFact {
  role: FileRole
  path: string
  /** Permission bits, the sticky bit included; of the target where the path is a symbolic link. */
  mode: number
  owner: number
  /** Where a symbolic link leads. */
  link: string | undefined
  /** The path after all symbolic links. */
  real: string
}

/** Looks at everything that holds, or decides over, the gateway's secrets; what does not exist is left out. */
export async function lookAtFiles(input: {
  paths: Paths
  includes: readonly string[]
  config: Record<string, unknown>
  tlsKey?: string
}): Promise<FileFact[]> {
  const { paths, includes, config, tlsKey } = input
  const { stateDir, configPath } = paths
  const at = (name: string) => join(stateDir, name)
  const places: [FileRole, string][] = [
    ['state_parent', dirname(stateDir)],
    ['state_dir', stateDir],
    ['config', configPath],
    ['config_backup', `${configPath}.bak`],
    ...includes.slice(0, MAX).map((path): [FileRole, string] => ['config_include', path]),
    ['dotenv', at('.env')],
    ['database', at('gateway.sqlite')],
    ['database', at('gateway.sqlite-wal')],
    ['database', at('gateway.sqlite-shm')],
    ['logs_dir', at('logs')],
    ['log_file', at('logs/gateway.log')],
    ['log_file', at('logs/gateway.log.1')],
    ['credentials_dir', at('credentials')],
    ['local_socket', paths.localSocket],
    ...(tlsKey === undefined ? [] : [['tls_key', tlsKey] as [FileRole, string]]),
    ...providerFiles(config, paths.home)
  ]
  const found = await Promise.all(places.map(([role, path]) => look(role, path)))
  return found.filter((fact) => fact !== undefined)
}

const MAX = 64

function providerFiles(config: Record<string, unknown>, home: string): [FileRole, string][] {
  const providers = valueAt(config, ['secrets', 'providers'])
  if (!isObject(providers)) return []
  return Object.values(providers)
    .slice(0, MAX)
    .flatMap((provider): [FileRole, string][] => {
      if (!isObject(provider)) return []
      if (provider.source === 'file' && typeof provider.path === 'string') {
        return [['secret_file', expand(provider.path, home)]]
      }
      if (provider.source === 'exec' && typeof provider.command === 'string') {
        return [['secret_command', expand(provider.command, home)]]
      }
      return []
    })
}

async function look(role: FileRole, path: string): Promise<FileFact | undefined> {
  try {
    const link = (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined
    const { mode, uid } = await stat(path)
    return { role, path, mode: mode & 0o1777, owner: uid, link, real: await realpath(path) }
  } catch {
    // It is not there, or not for us to see.
    return undefined
  }
}
