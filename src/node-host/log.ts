/** Where a node host says what happens to it: facts, and constant words. */
export interface NodeLog {
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  debug(facts: object, message: string): void
}
