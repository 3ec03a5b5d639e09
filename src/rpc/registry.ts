import { isScope } from '../protocol/scopes.ts'
import { type Check, checker } from '../protocol/validate.ts'
import type { Method } from './method.ts'
import { WriteLimit } from './write-limit.ts'

/** A method ready to be called. */
export interface RegisteredMethod extends Method {
  check: Check | undefined
}

/** Every RPC method by name. A method without a scope, or declared twice, does not get in (S20). */
export class Registry {
  readonly writes = new WriteLimit()
  readonly #methods = new Map<string, RegisteredMethod>()

  constructor(methods: readonly Method[]) {
    for (const method of methods) this.add(method)
  }

  add(method: Method): void {
    const { name, scope } = method
    if (!name) throw new Error('an RPC method needs a name')
    if (scope !== 'any' && scope !== 'node' && !isScope(scope)) {
      throw new Error(`RPC method ${name} must name its scope: one of the operator scopes, "node" or "any"`)
    }
    if (this.#methods.has(name)) throw new Error(`RPC method ${name} is declared twice`)
    this.#methods.set(name, { ...method, check: method.params === undefined ? undefined : checker(method.params) })
  }

  get(name: string): RegisteredMethod | undefined {
    return this.#methods.get(name)
  }

  get names(): string[] {
    return [...this.#methods.keys()]
  }
}
