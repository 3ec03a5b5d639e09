import { execFile } from 'node:child_process'
import { platform } from 'node:os'
import { promisify } from 'node:util'
import { Type } from 'typebox'
import type { Env } from '../../config/paths.ts'
import { CommandError, defineCommand } from '../command.ts'
import { findProgram } from '../programs.ts'

const text = Type.Optional(Type.String({ maxLength: 4_096 }))
const TIMEOUT_MS = 10_000

/** The program that shows notifications here; undefined where there is none. */
export function notifier(env: Env): string | undefined {
  return findProgram(platform() === 'darwin' ? 'osascript' : 'notify-send', env.PATH)
}

/** `system.notify`: shows a notification on this machine's desktop. */
export function systemNotify(env: Env) {
  return defineCommand({
    name: 'system.notify',
    cap: 'system',
    params: Type.Object({ title: text, body: text, priority: text, sound: text, delivery: text }),
    run: async ({ title = '', body = '', priority }, { signal }) => {
      if (title.trim() === '' && body.trim() === '') throw new CommandError('INVALID_REQUEST', 'empty notification')
      const program = notifier(env)
      if (program === undefined) {
        throw new CommandError('NOTIFICATIONS_UNAVAILABLE', 'notify-send is not on this node; install libnotify-bin')
      }
      const args = program.endsWith('osascript') ? onMac(title, body) : onLinux(title, body, priority)
      try {
        await promisify(execFile)(program, args, { env: { ...env }, signal, timeout: TIMEOUT_MS })
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
        throw new CommandError('NOTIFICATIONS_UNAVAILABLE', `the notification was not shown: ${reason}`, cause)
      }
      return { ok: true }
    }
  })
}

function onLinux(title: string, body: string, priority: string | undefined): string[] {
  const urgency = priority === 'timeSensitive' ? 'critical' : priority === 'passive' ? 'low' : 'normal'
  return ['--urgency', urgency, '--', title, body]
}

// The texts are arguments of the script, never a part of it.
function onMac(title: string, body: string): string[] {
  const script = ['on run argv', 'display notification (item 2 of argv) with title (item 1 of argv)', 'end run']
  return [...script.flatMap((line) => ['-e', line]), '--', title, body]
}
