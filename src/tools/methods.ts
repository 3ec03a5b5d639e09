/** Calls a method of the gateway as a tool's caller, with the checks that a call of the caller's own would meet. */
export type CallMethod<C> = (method: string, params: unknown, caller: C) => unknown
