import { posix } from 'node:path'
import type { Program } from './plan.ts'

const list = (text: string): readonly string[] => text.trim().split(/\s+/)

const shells = list('sh ash bash dash zsh ksh mksh rbash fish csh tcsh pwsh powershell cmd nu elvish xonsh')

/** Programs that run what their arguments or their input say: a rule for the program alone says nothing about that. */
const carriers: ReadonlySet<string> = new Set([
  ...shells,
  ...list('busybox toybox'),
  ...list('python pypy ipython perl ruby irb node nodejs deno bun php lua luajit tclsh wish expect osascript'),
  ...list('awk gawk mawk nawk sed r rscript julia guile groovy jshell make gmake gdb'),
  ...list('env sudo su doas pkexec runuser chroot unshare nsenter setpriv systemd-run start-stop-daemon'),
  ...list('xargs parallel nohup setsid nice ionice chrt taskset timeout time stdbuf script watch flock'),
  ...list('strace ltrace ssh scp sftp rsync npx pnpx bunx uvx pipx')
])

/** Programs that are such only with certain arguments. */
const sometimes: ReadonlyMap<string, RegExp> = new Map([['find', /^-(exec|execdir|ok|okdir)$/]])

/** Programs that run another as it is given, with nothing of their own; and how many operands come before it. */
const wrappers: ReadonlyMap<string, number> = new Map([
  ['env', 0],
  ['nohup', 0],
  ['setsid', 0],
  ['nice', 0],
  ['time', 0],
  ['timeout', 1]
])

// Where a wrapper or a shell must lie to be taken for what its name says.
const trusted: ReadonlySet<string> = new Set(['/bin', '/usr/bin'])

/** Reports whether a command is a program that runs what it is told, by any of the names it goes by. */
export function isCarrier({ argv, resolvedPath, realPath }: Program & { argv: readonly string[] }): boolean {
  return [argv[0], resolvedPath, realPath].some((path) => {
    if (path === undefined) return false
    const name = plainName(path)
    return carriers.has(name) || argv.some((word) => sometimes.get(name)?.test(word))
  })
}

/** The command inside a transparent wrapper; undefined where it cannot be told for certain. */
export function unwrap(argv: readonly string[], path: string): readonly string[] | undefined {
  const operands = isTrusted(argv, path) ? wrappers.get(posix.basename(path)) : undefined
  if (operands === undefined) return undefined
  // An option changes what the wrapper does, and an assignment what the command inside does.
  if (argv.slice(1, operands + 2).some((word) => word.startsWith('-') || word.includes('='))) return undefined
  const inner = argv.slice(operands + 1)
  return inner.length === 0 ? undefined : inner
}

/** The script of a plain `sh -c SCRIPT`; undefined for anything else. */
export function scriptOf(argv: readonly string[], path: string): string | undefined {
  const [, flag = '', script, ...more] = argv
  const posixShell = ['sh', 'bash', 'dash'].includes(posix.basename(path))
  return isTrusted(argv, path) && posixShell && /^-l?c$/.test(flag) && more.length === 0 ? script : undefined
}

// Under another name, a program of many applets is another program.
function isTrusted([name = '']: readonly string[], path: string): boolean {
  return trusted.has(posix.dirname(path)) && posix.basename(name) === posix.basename(path)
}

// `/usr/bin/Python3.11.exe` is a python.
function plainName(path: string): string {
  const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1).toLowerCase()
  return name.replace(/\.exe$/, '').replace(/^([a-z]+)-?\d.*$/, '$1')
}
