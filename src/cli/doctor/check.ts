import type { Fix } from '../../protocol/errors.ts'

/** What one check came to. */
export interface Check {
  /** Stable name, for scripts. */
  id: string
  title: string
  status: 'ok' | 'warning' | 'error' | 'skipped'
  detail: string
  /** The key or the file that is meant. */
  path?: string
  line?: number
  column?: number
  fix?: Fix
  /** Reports whether `--fix` mends it. */
  mendable?: true
}

interface More {
  path?: string
  line?: number | undefined
  column?: number | undefined
  /** A command for this host. */
  fix?: string
  mendable?: boolean
}

/** What goes with a check that `--fix` mends. */
export const MENDABLE = { fix: 'openclaw doctor --fix', mendable: true } as const

/** One subject of the doctor's: makes its checks. */
export interface Subject {
  ok(detail: string): Check
  skipped(detail: string): Check
  warning(detail: string, more?: More): Check
  error(detail: string, more?: More): Check
}

/** The checks of one subject, by name and title. */
export function subject(id: string, title: string): Subject {
  const make =
    (status: Check['status']) =>
    (detail: string, { path, line, column, fix, mendable }: More = {}): Check => ({
      id,
      title,
      status,
      detail,
      ...(path === undefined ? {} : { path }),
      ...(line === undefined ? {} : { line }),
      ...(column === undefined ? {} : { column }),
      ...(fix === undefined ? {} : { fix: { command: fix, where: 'gateway host' } }),
      ...(mendable === true ? { mendable } : {})
    })
  return { ok: make('ok'), skipped: make('skipped'), warning: make('warning'), error: make('error') }
}
