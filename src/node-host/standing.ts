import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Static, Type } from 'typebox'
import { checker } from '../protocol/validate.ts'
import type { Trouble } from './trouble.ts'

const Standing = Type.Object({
  gateway: Type.String(),
  connected: Type.Boolean(),
  sinceMs: Type.Number(),
  trouble: Type.Optional(
    Type.Object({ message: Type.String(), fix: Type.Optional(Type.String()), atMs: Type.Number() })
  )
})
const check = checker(Standing)

/** How a node host stands with one gateway, since when, and why it had no connection the last time. */
export type Standing = Static<typeof Standing>

/** Keeps how a node host stands with a gateway, for whoever asks on this machine. It holds no secret. */
export class StandingFile {
  readonly #path: string
  #now: Standing

  /** `name` is that of the lock of the node host. */
  constructor(folder: string, name: string, gateway: string) {
    this.#path = join(folder, `${name}.json`)
    this.#now = { gateway, connected: false, sinceMs: Date.now() }
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#write()
  }

  /** There is a connection. */
  connected(): void {
    this.#now = { ...this.#now, connected: true, sinceMs: Date.now() }
    this.#write()
  }

  /** There is none, or none any more. */
  troubled({ message, fix }: Pick<Trouble, 'message' | 'fix'>): void {
    const { connected, sinceMs, trouble } = this.#now
    if (!connected && trouble?.message === message) return
    const atMs = Date.now()
    const told = { message, ...(fix === undefined ? {} : { fix }), atMs }
    this.#now = { ...this.#now, connected: false, sinceMs: connected ? atMs : sinceMs, trouble: told }
    this.#write()
  }

  // A moment's news: a crash of the machine may lose it, and a reader never sees half of it.
  #write(): void {
    const temporary = `${this.#path}.tmp`
    writeFileSync(temporary, `${JSON.stringify(this.#now)}\n`, { mode: 0o600 })
    renameSync(temporary, this.#path)
  }
}

/** Every standing that is kept in a folder, with its name; the latest first. */
export function readStandings(folder: string): (Standing & { name: string })[] {
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => /^gateway-[0-9a-f]+\.json$/.test(name))
  } catch {
    return []
  }
  const found = names.flatMap((file) => {
    try {
      const value: unknown = JSON.parse(readFileSync(join(folder, file), 'utf8'))
      return check(value) === undefined ? [{ ...(value as Standing), name: file.replace(/\.json$/, '') }] : []
    } catch {
      return []
    }
  })
  return found.sort((a, b) => b.sinceMs - a.sinceMs)
}
