import type { VoiceWakeStore } from '../store/voice-wake.ts'
import type { NodeLink, NodeRegistry } from './registry.ts'

/** What the wake words work on. */
export interface VoiceWakeDeps {
  store: VoiceWakeStore
  registry: NodeRegistry
  publish(event: string, payload: unknown): void
}

const USUAL: readonly string[] = ['openclaw', 'claude', 'computer']
const MAX_WORDS = 32
const MAX_LENGTH = 64

/** Where a woken assistant listens. There is one, so there is nothing to choose. */
export const WAKE_ROUTING = { version: 1, defaultTarget: { mode: 'current' }, routes: [], updatedAtMs: 0 } as const

/** The words that wake an assistant: one list for every machine that listens. */
export class VoiceWake {
  readonly #deps: VoiceWakeDeps

  constructor(deps: VoiceWakeDeps) {
    this.#deps = deps
  }

  async words(): Promise<string[]> {
    return (await this.#deps.store.get()) ?? [...USUAL]
  }

  /** Keeps new words, and tells everyone who listens; returns them as they are kept. */
  async set(given: readonly unknown[]): Promise<string[]> {
    const { store, registry, publish } = this.#deps
    const triggers = kept(given)
    await store.set(triggers)
    publish('voicewake.changed', { triggers })
    for (const { link } of registry) link.send({ type: 'event', event: 'voicewake.changed', payload: { triggers } })
    return triggers
  }

  /** Tells a node that has just come what to listen for. */
  async greet(link: NodeLink): Promise<void> {
    const triggers = await this.words()
    link.send({ type: 'event', event: 'voicewake.changed', payload: { triggers } })
    link.send({ type: 'event', event: 'voicewake.routing.changed', payload: { config: WAKE_ROUTING } })
  }
}

// Trimmed, few and short; without any, the usual ones.
function kept(given: readonly unknown[]): string[] {
  const words = given.flatMap((word) => (typeof word === 'string' && word.trim() !== '' ? [cut(word.trim())] : []))
  return words.length === 0 ? [...USUAL] : words.slice(0, MAX_WORDS)
}

// Never half a character.
function cut(word: string): string {
  const short = word.slice(0, MAX_LENGTH)
  return short.isWellFormed() ? short : short.slice(0, -1)
}
