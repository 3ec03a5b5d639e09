import { Approvals } from './state/approvals.ts'
import { Audit } from './state/audit.ts'
import { Devices } from './state/devices.ts'
import { Monitor } from './state/monitor.ts'
import { Nodes } from './state/nodes.ts'
import { Session } from './state/session.ts'
import { Theme } from './state/theme.ts'

/** Everything that outlives a page. */
export interface Control {
  session: Session
  monitor: Monitor
  devices: Devices
  nodes: Nodes
  approvals: Approvals
  audit: Audit
  theme: Theme
}

/** Makes the state of one visit. */
export function createControl(): Control {
  const session = new Session()
  return {
    session,
    monitor: new Monitor(session),
    devices: new Devices(session),
    nodes: new Nodes(session),
    approvals: new Approvals(session),
    audit: new Audit(session),
    theme: new Theme()
  }
}
