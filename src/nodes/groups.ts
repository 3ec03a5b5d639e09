/** Sets by key; a key without members takes no room. */
export class Groups<K, T> {
  readonly #groups = new Map<K, Set<T>>()

  add(key: K, member: T): void {
    const group = this.#groups.get(key)
    if (group === undefined) this.#groups.set(key, new Set([member]))
    else group.add(member)
  }

  delete(key: K, member: T): void {
    const group = this.#groups.get(key)
    if (group?.delete(member) && group.size === 0) this.#groups.delete(key)
  }

  count(key: K): number {
    return this.#groups.get(key)?.size ?? 0
  }

  /** The members as they are now: they may be taken away meanwhile. */
  of(key: K): T[] {
    return [...(this.#groups.get(key) ?? [])]
  }

  get size(): number {
    return this.#groups.size
  }
}
