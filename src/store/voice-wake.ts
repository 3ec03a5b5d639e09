import type { DatabaseSync } from 'node:sqlite'
import { Sql } from './database.ts'

/** The words that wake an assistant, in SQLite; undefined until someone chose some. */
export class VoiceWakeStore {
  readonly #sql: Sql

  constructor(db: DatabaseSync) {
    this.#sql = new Sql(db)
  }

  async get(): Promise<string[] | undefined> {
    const row = this.#sql.get('SELECT triggers FROM voice_wake')
    return row && (JSON.parse(row.triggers as string) as string[])
  }

  async set(triggers: readonly string[]): Promise<void> {
    this.#sql.run('INSERT OR REPLACE INTO voice_wake (id, triggers) VALUES (1, ?)', JSON.stringify(triggers))
  }
}
