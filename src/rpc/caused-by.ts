import type { AuthEvent } from '../store/trail.ts'
import type { Caller } from './method.ts'

/** Who a caller is, in a word for the record: a user, a device, a named token, or how it came in. */
export function callerName({ user, deviceId, token, method }: Caller): string {
  return user?.id ?? deviceId ?? token?.name ?? method
}

/** What the trail says of the caller behind a change. */
export function causedBy(
  caller: Caller
): Pick<AuthEvent, 'method' | 'who' | 'address' | 'listener' | 'client' | 'surface'> {
  return {
    method: caller.method,
    who: callerName(caller),
    address: caller.address,
    listener: caller.entry.ingress.listener,
    client: caller.client.id,
    surface: caller.surface
  }
}
