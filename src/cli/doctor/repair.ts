import { changeConfig } from '../../config/change.ts'
import { closeFiles } from '../../security/repair.ts'
import { confirm } from '../confirm.ts'
import { type ConfigEdit, editsFor } from './config-repairs.ts'
import type { DoctorContext } from './context.ts'
import { mendState } from './state.ts'

/** What `--fix` did, and what it could not do. */
export interface Repaired {
  done: string[]
  failed: string[]
}

/** Mends what can be mended without deciding anything for the owner: permissions, leftovers, folders, the file's slips. */
export async function repair(context: DoctorContext, ask: boolean): Promise<Repaired> {
  const out: Repaired = { done: [], failed: [] }
  for (const { path, mode, ok, skipped } of await closeFiles(context.facts)) {
    const what = `chmod ${mode.toString(8)} ${path}`
    if (ok) out.done.push(what)
    else out.failed.push(`${what}: ${skipped}`)
  }
  out.done.push(...(await mendState(context)))
  await mendConfig(context, ask, out)
  return out
}

async function mendConfig({ io, source, paths, env }: DoctorContext, ask: boolean, out: Repaired): Promise<void> {
  const edits = source === undefined ? [] : editsFor(source, env)
  const wanted: ConfigEdit[] = []
  for (const edit of edits) {
    if (edit.question === undefined || !ask || (await confirm(edit.question))) wanted.push(edit)
  }
  if (wanted.length === 0) return
  try {
    await changeConfig({
      paths,
      env: io.env,
      // In one change: each alone would leave what the others mend. What else keeps it from starting is not made worse.
      edit: (raw) => wanted.reduce((text, { edit }) => edit(text), raw),
      check: () => undefined
    })
    out.done.push(...wanted.map(({ what }) => what))
  } catch (error) {
    out.failed.push(`${wanted.map(({ what }) => what).join(', ')}: ${error instanceof Error ? error.message : error}`)
  }
}
