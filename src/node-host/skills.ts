import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** A skill as it is published: its whole `SKILL.md`, and what its head says. */
export interface Skill {
  name: string
  description: string
  content: string
}

const MAX_SKILLS = 64
const MAX_CONTENT = 65_536
const MAX_DESCRIPTION = 1_024
const NAME = /^(?!.*--)[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/

/** Reads the skills of a state folder: `skills/NAME/SKILL.md`, whose head has the same name. Others are passed over. */
export async function readSkills(stateDir: string, warn: (facts: object, message: string) => void): Promise<Skill[]> {
  const folder = join(stateDir, 'skills')
  const names = (await readdir(folder).catch(() => [])).filter((name) => NAME.test(name)).sort()
  const found: Skill[] = []
  for (const name of names.slice(0, MAX_SKILLS)) {
    const path = join(folder, name, 'SKILL.md')
    const skill = await readSkill(path, name)
    if (typeof skill === 'string') warn({ path, reason: skill }, 'skill not published')
    else if (skill !== undefined) found.push(skill)
  }
  return found
}

async function readSkill(path: string, name: string): Promise<Skill | string | undefined> {
  let content: string
  try {
    if ((await stat(path)).size > MAX_CONTENT) return 'it is larger than 64 KiB'
    content = await readFile(path, 'utf8')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : 'it cannot be read'
  }
  const head = /^---\r?\n([\s\S]*?)\r?\n---(\r?\n|$)/.exec(content)?.[1]
  if (head === undefined) return 'it has no head between two lines of ---'
  if (field(head, 'name') !== name) return 'its name is not that of its folder'
  const description = field(head, 'description')
  if (description === undefined) return 'it has no description on one line'
  return { name, description: description.slice(0, MAX_DESCRIPTION), content }
}

// The two fields that matter are plain or quoted text on a line; more of YAML is not needed to find them.
function field(head: string, key: string): string | undefined {
  const value = new RegExp(`^${key}:[ \\t]*(.+?)[ \\t]*\\r?$`, 'm').exec(head)?.[1]
  if (value === undefined || /^[|>&*!{[]/.test(value)) return undefined
  return /^(["'])(.*)\1$/.exec(value)?.[2] ?? value
}
