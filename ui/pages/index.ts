import type { TemplateResult } from 'lit'
import type { Control } from '../control.ts'
import type { IconName } from '../parts/icon.ts'

/** One page: a row here and a module that exports `render` is all it takes. */
export interface Page {
  id: string
  /** Below the base path. */
  path: string
  title: string
  icon: IconName
  load(): Promise<{ render(control: Control): TemplateResult }>
  /** A count that wants attention, shown beside the title. */
  badge?(control: Control): number
}

/** The pages, in the order of the navigation. */
export const pages: Page[] = [
  { id: 'overview', path: '/', title: 'Overview', icon: 'overview', load: () => import('./overview.ts') },
  {
    id: 'devices',
    path: '/devices',
    title: 'Devices',
    icon: 'devices',
    load: () => import('./devices.ts'),
    badge: ({ devices }) => devices.pending.length
  },
  {
    id: 'nodes',
    path: '/nodes',
    title: 'Nodes',
    icon: 'nodes',
    load: () => import('./nodes.ts'),
    badge: ({ nodes }) => nodes.pending.length
  },
  {
    id: 'approvals',
    path: '/approvals',
    title: 'Approvals',
    icon: 'approvals',
    load: () => import('./approvals.ts'),
    badge: ({ approvals }) => approvals.pending.length
  },
  { id: 'audit', path: '/audit', title: 'Audit', icon: 'audit', load: () => import('./audit.ts') }
]
