import type { ClientError } from '../errors.ts'
import type { SshRoute } from './route.ts'
import { SshStream, type SshStreamOptions } from './stream.ts'

/** Logs in and asks the port behind it for anything at all; resolves with what stands in the way, if something does. */
export function checkRoute(route: SshRoute, options: SshStreamOptions): Promise<ClientError | undefined> {
  const stream = new SshStream(route, options)
  return new Promise((resolve) => {
    const done = (error?: ClientError) => {
      clearTimeout(timer)
      resolve(error)
      stream.destroy()
    }
    // ssh ends by itself before, unless the port takes connections and says nothing.
    const timer = setTimeout(done, options.timeoutMs + 1_000)
    stream.once('error', (error) => done(error as ClientError))
    stream.once('data', () => done())
    stream.once('end', () => done())
    stream.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
  })
}
