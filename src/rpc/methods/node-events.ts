import { Type } from 'typebox'
import { activityOf } from '../../nodes/activity.ts'
import type { ExecRuns } from '../../nodes/exec-runs.ts'
import { hostStatsOf } from '../../nodes/host-stats.ts'
import { execEventOf, finishedLine, recordOf, saidLine, startedLine } from '../../nodes/news.ts'
import type { NodeRegistry } from '../../nodes/registry.ts'
import { approvedStanding, type Standing } from '../../nodes/standing.ts'
import type { NodeStore } from '../../store/nodes.ts'
import { type Caller, defineMethod, type Method, type Publish } from '../method.ts'
import type { Presence } from '../presence.ts'
import type { SystemEvents } from '../system-events.ts'

/** What the events of nodes change. */
export interface NodeEventDeps {
  store: NodeStore
  registry: NodeRegistry
  runs: ExecRuns
  events: SystemEvents
  presence: Presence
  publish: Publish
}

/** What became of an event: taken in, or a reason. */
type Outcome = true | { handled: boolean; reason: string }

type Handler = (payload: unknown, node: Standing, caller: Caller) => Outcome

const MAX_PAYLOAD = 1_048_576
const ALIVE_EVERY_MS = 60_000
const MAX_NODES = 5_000
const TRIGGERS = ['background', 'silent_push', 'bg_app_refresh', 'significant_location', 'manual', 'connect']
const invalid = { handled: false, reason: 'invalid_payload' }
const unmatched = { handled: false, reason: 'unmatched_exec_event' }

/** What nodes tell of themselves (§4). */
export function nodeEventMethods(deps: NodeEventDeps): Method[] {
  const { store, registry, runs, events, presence, publish } = deps
  const { activity } = registry
  /** When each node was last written down as alive; in that order. */
  const alive = new Map<string, number>()

  const handlers: Record<string, Handler> = {
    'node.presence.alive': (payload, { nodeId }) => {
      if (typeof payload !== 'object' || payload === null) return invalid
      const now = Date.now()
      if (now - (alive.get(nodeId) ?? 0) < ALIVE_EVERY_MS) return { handled: true, reason: 'throttled' }
      alive.delete(nodeId)
      alive.set(nodeId, now)
      if (alive.size > MAX_NODES) alive.delete(alive.keys().next().value!)
      const trigger = TRIGGERS.find((each) => each === recordOf(payload).trigger) ?? 'background'
      store.note(nodeId, { lastSeenAtMs: now, lastSeenReason: trigger })
      store.flush()
      return { handled: true, reason: 'persisted' }
    },
    'node.presence.activity': (payload, { nodeId, permissions }, { connId, client }) => {
      const report = activityOf(payload)
      if (report === undefined) return invalid
      if ('action' in report) {
        const cleared = activity.forget(nodeId, connId)
        if (cleared) publish('node.presence', { nodeId, lastActiveAtMs: null, presenceUpdatedAtMs: null })
        return { handled: true, reason: cleared ? 'cleared' : 'already_clear' }
      }
      // What happens in the app itself only the app can tell; what happens elsewhere takes the owner's permission.
      if (report.source === 'app' && client.id !== 'openclaw-macos')
        return { handled: false, reason: 'stale_connection' }
      if (report.source !== 'app' && permissions.accessibility !== true) {
        return { handled: false, reason: 'permission_required' }
      }
      publish('node.presence', { nodeId, ...activity.report(nodeId, connId, report.idleSeconds) })
      return { handled: true, reason: 'updated' }
    },
    'node.host.stats': (payload, { nodeId }) => {
      const stats = hostStatsOf(payload)
      if (stats === undefined) return invalid
      const hostStats = { ...stats, updatedAtMs: Date.now() }
      store.note(nodeId, { hostStats })
      publish('node.hostStats', { nodeId, hostStats })
      return { handled: true, reason: 'updated' }
    },
    'voice.transcript': (payload, { nodeId }) => heard(nodeId, 'Voice transcript', recordOf(payload).text),
    'agent.request': (payload, { nodeId }) => heard(nodeId, 'Agent request', recordOf(payload).message),
    'exec.started': (payload, { nodeId }, { connId }) => {
      const event = execEventOf(payload)
      if (event === undefined) return true
      if (!runs.has(connId, event)) return unmatched
      if (!event.quiet) events.add(nodeId, startedLine(nodeId, event))
      return true
    },
    'exec.finished': (payload, { nodeId }, { connId }) => {
      const event = execEventOf(payload)
      if (event === undefined) return true
      if (!runs.has(connId, event)) return unmatched
      runs.ended(connId, event.runId)
      const line = event.quiet ? undefined : finishedLine(nodeId, event)
      if (line !== undefined) events.add(nodeId, line)
      return true
    },
    // Whoever denied it knows, and nobody else need be told.
    'exec.denied': (payload, _node, { connId }) => {
      const event = execEventOf(payload)
      if (event === undefined) return true
      if (!runs.has(connId, event)) return unmatched
      runs.ended(connId, event.runId)
      return true
    }
  }

  return [
    defineMethod({
      name: 'node.event',
      scope: 'node',
      params: Type.Object(
        {
          event: Type.String({ minLength: 1 }),
          payload: Type.Optional(Type.Unknown()),
          payloadJSON: Type.Optional(Type.String())
        },
        { additionalProperties: false }
      ),
      handler({ event, payload, payloadJSON }, caller) {
        const node = approvedStanding(registry, caller.connId)
        const handler = Object.hasOwn(handlers, event) ? handlers[event] : undefined
        if (handler === undefined) return { ok: true, event, handled: false, reason: 'unsupported_event' }
        const outcome = handler(payloadJSON === undefined ? payload : parsed(payloadJSON), node, caller)
        return outcome === true ? { ok: true } : { ok: true, event, ...outcome }
      }
    })
  ]

  // There is nobody yet who would act on it: people can see that it was said.
  function heard(nodeId: string, what: string, words: unknown): Outcome {
    const line = saidLine(nodeId, what, words)
    const added = line && events.add(nodeId, line)
    if (added) presence.note(added, 'node-event', nodeId)
    return true
  }
}

function parsed(json: string): unknown {
  if (json.length > MAX_PAYLOAD) return undefined
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
