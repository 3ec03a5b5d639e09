import { isDeepStrictEqual } from 'node:util'
import { formatKeyPath, isObject, type KeyPath, valueAt } from './key-path.ts'

/**
 * Makes a merge patch say what it means for lists: entries with an `id` merge by it, and a list may lose entries only
 * when its path is among `replacePaths`. Throws a RangeError that names the path otherwise.
 */
export function settleLists(
  patch: unknown,
  stored: unknown,
  replacePaths: ReadonlySet<string>,
  path: KeyPath = []
): unknown {
  const before = valueAt(stored, path)
  const replaced = replacePaths.has(formatKeyPath(path))
  if (Array.isArray(patch) && Array.isArray(before) && !replaced) return mergeLists(before, patch, path)
  if (isObject(patch) && (isObject(before) || before === undefined)) {
    return Object.fromEntries(
      Object.entries(patch).map(([key, value]) => [key, settleLists(value, stored, replacePaths, [...path, key])])
    )
  }
  // Whatever else a patch holds takes the place of what is there.
  if (!Array.isArray(patch) || !Array.isArray(before)) refuseLostLists(before, path, replacePaths)
  return patch
}

function mergeLists(before: readonly unknown[], patch: readonly unknown[], path: KeyPath): unknown[] {
  if ([...before, ...patch].every((item) => isObject(item) && typeof item.id === 'string')) {
    const merged = [...before]
    for (const item of patch as { id: string }[]) {
      const at = merged.findIndex((other) => isObject(other) && other.id === item.id)
      if (at === -1) merged.push(item)
      else merged[at] = mergeValues(merged[at], item)
    }
    return merged
  }
  if (before.every((item) => patch.some((other) => isDeepStrictEqual(item, other)))) return [...patch]
  throw lost(path)
}

function mergeValues(under: unknown, over: unknown): unknown {
  if (!isObject(under) || !isObject(over)) return over
  const merged: Record<string, unknown> = { ...under }
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete merged[key]
    else merged[key] = mergeValues(merged[key], value)
  }
  return merged
}

// A whole list needs its own path only; an object needs those of the lists inside it.
function refuseLostLists(before: unknown, path: KeyPath, replacePaths: ReadonlySet<string>): void {
  if (Array.isArray(before)) {
    if (!replacePaths.has(formatKeyPath(path))) throw lost(path)
  } else if (isObject(before)) {
    for (const [key, value] of Object.entries(before)) refuseLostLists(value, [...path, key], replacePaths)
  }
}

function lost(path: KeyPath): RangeError {
  const text = formatKeyPath(path)
  return new RangeError(`the patch would remove entries of ${text}; add "${text}" to replacePaths if that is meant`)
}

/** The paths at which two configurations differ; no values. */
export function changedPaths(before: unknown, after: unknown, path: KeyPath = []): string[] {
  if (isDeepStrictEqual(before, after)) return []
  if (!isObject(before) || !isObject(after)) return [formatKeyPath(path)]
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].flatMap((key) => changedPaths(before[key], after[key], [...path, key]))
}
