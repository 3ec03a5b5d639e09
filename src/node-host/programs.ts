import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import type { Program } from '../approvals/plan.ts'

/** Finds a program by its bare name in a PATH, as a shell does; relative folders of the PATH are passed over. */
export function findProgram(name: string, path = ''): string | undefined {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) return undefined
  const folders = path.split(delimiter).filter(isAbsolute)
  return folders.map((folder) => join(folder, name)).find(isProgram)
}

/** Finds the program that a word stands for: on the PATH, or from a folder where the word is a path. */
export function programOf(word: string, cwd: string, path: string | undefined): Program {
  const found = word.includes('/') ? resolve(cwd, word) : findProgram(word, path)
  if (found === undefined || !isProgram(found)) return { resolvedPath: undefined }
  return { resolvedPath: found, realPath: realpathSync(found) }
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
