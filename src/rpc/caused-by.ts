import type { AuthEvent } from '../store/trail.ts'
import type { Connection } from './connection.ts'
import type { Caller } from './method.ts'

/** Who a caller is, in a word for the record: a user, a device, a named token, or how it came in. */
export function callerName({ user, deviceId, token, method }: Caller): string {
  return user ?? deviceId ?? token?.name ?? method
}

/** What the trail says of the caller behind a change. */
export function causedBy(
  caller: Caller,
  connections: Iterable<Connection>
): Pick<AuthEvent, 'method' | 'who' | 'address' | 'listener' | 'client' | 'surface'> {
  const own = [...connections].find(({ id }) => id === caller.connId)
  return {
    method: caller.method,
    who: callerName(caller),
    address: caller.address,
    listener: own?.ingress.listener,
    client: caller.client.id,
    surface: 'websocket'
  }
}
