import type { Test } from 'tap'
import { withoutFix } from './pair.ts'

type Json = Record<string, unknown>

/** What a gateway made of one connect or one request, without what differs from run to run. */
export interface Answer {
  /** What it comes to, in one word: `ok`, the reason of a refusal, or the status of an HTTP answer. */
  word: string | number
  /** Everything that a client can tell. */
  told: Json
}

/** What a case expects of both answers. */
export interface Expected {
  /** The word of the reference's answer. */
  want: string | number
  /** Why ours is not the same: a difference on purpose (`D2: …`), a property that ours keeps (`S8: …`), or the reason. */
  differs?: string
  /** What is different in ours: a merge patch over the reference's answer. */
  ours?: Json
}

/** Compares two answers: the same, or different in exactly what the case says. */
export function compare(t: Test, [ours, reference]: readonly [Answer, Answer], expected: Expected): void {
  const { want, differs, ours: patch = {} } = expected
  t.equal(reference.word, want, 'the reference answers as recorded', { told: reference.told })
  if (differs === undefined) {
    t.strictSame(ours.told, reference.told, 'the same answer')
    return
  }
  t.strictSame(ours.told, patched(reference.told, patch), differs)
  t.notSame(ours.told, reference.told, 'what is the same by now is not listed as a difference')
}

/** A case's name, with its difference. */
export function titleOf({ name, differs }: { name: string; differs?: string }): string {
  return differs === undefined ? name : `${name} (${differs})`
}

// RFC 7396.
function patched(value: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch
  const merged: Json = isRecord(value) ? { ...value } : {}
  for (const [key, next] of Object.entries(patch)) {
    if (next === null) delete merged[key]
    else merged[key] = patched(merged[key], next)
  }
  return merged
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON without our additions, with scopes in order, and with words in place of what no two runs share. */
export function settled(json: unknown): unknown {
  return JSON.parse(JSON.stringify(withoutFix(json) ?? null), (key, value: unknown) => {
    if (Array.isArray(value) && value.every((each) => String(each).startsWith('operator.'))) return value.toSorted()
    if (typeof value === 'number' && /(Ms|^ts)$/.test(key)) return 'TIME'
    if (typeof value !== 'string') return value
    if (/^[\w-]{43}$/.test(value)) return 'SECRET'
    // A close reason has room for a part of the id alone: how much there is can be told.
    if (key === 'reason') return value.replace(/(?<=requestId: )[0-9a-f-]+/, (id) => id.replaceAll(/\w/g, 'x'))
    return value.replaceAll(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'UUID')
  })
}
