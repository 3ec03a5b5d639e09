/** What the audit trail tells of. */
export const EVENT_KINDS = [
  'connect',
  'http',
  'ingress',
  'origin',
  'device.paired',
  'device.requested',
  'device.rejected',
  'device.expired',
  'device.granted',
  'device.removed',
  'device.revoked',
  'device.rotated',
  'node.approved',
  'node.rejected',
  'node.removed',
  'launch.created',
  'setup.created',
  'token.created',
  'token.revoked',
  'secret.rotated',
  'access.changed',
  'approval.allowed',
  'approval.denied',
  'policy.changed'
] as const

/** One kind of event on the audit trail. */
export type EventKind = (typeof EVENT_KINDS)[number]

/** How an event ended: somebody was let in, was turned away, or changed who may come in. */
export const EVENT_OUTCOMES = ['allowed', 'denied', 'changed'] as const

/** One way for an event to end. */
export type EventOutcome = (typeof EVENT_OUTCOMES)[number]
