import { TailscaleError } from './errors.ts'

// Imported as an ES module, `node:http` evaluates its lazy exports and loads Undici.
const { request } = process.getBuiltinModule('node:http')

const TIMEOUT_MS = 2_000
const MAX_BYTES = 1_048_576

/** What tailscaled answered. */
export interface LocalApiAnswer {
  status: number
  body: string
}

/** Where tailscaled's LocalAPI listens on this system when nobody says otherwise. */
export function usualSockets(platform: NodeJS.Platform = process.platform): readonly string[] {
  if (platform === 'darwin') return ['/var/run/tailscaled.socket']
  return ['/var/run/tailscale/tailscaled.sock', '/run/tailscale/tailscaled.sock']
}

/**
 * Asks tailscaled one thing through its Unix socket: a connection of its own, a bounded answer, a bounded time.
 * Rejects with `TAILSCALE_MISSING` when nobody listens there, with `TAILSCALE_FAILED` when the answer is none.
 */
export function askLocalApi(socket: string, path: string): Promise<LocalApiAnswer> {
  return new Promise((resolve, reject) => {
    const ask = request({ socketPath: socket, path, agent: false, headers: { host: 'local-tailscaled.sock' } })
    // Over the whole exchange: an answer that trickles in is as bad as none.
    const deadline = setTimeout(() => fail(`took longer than ${TIMEOUT_MS} ms`), TIMEOUT_MS)
    const fail = (what: string, cause?: unknown) => {
      clearTimeout(deadline)
      reject(new TailscaleError('TAILSCALE_FAILED', `tailscaled ${what} (${socket})`, { cause }))
      ask.destroy()
    }
    ask.on('error', (error: NodeJS.ErrnoException) => {
      if (error.syscall !== 'connect') return fail(`broke off: ${error.code ?? error.message}`, error)
      clearTimeout(deadline)
      const why = error.code === 'EACCES' ? 'may not be opened' : `nothing listens: ${error.code}`
      reject(new TailscaleError('TAILSCALE_MISSING', `tailscaled's socket ${socket} ${why}`, { cause: error }))
    })
    ask.on('close', () => fail('closed the connection without an answer'))
    ask.on('response', (answer) => {
      const chunks: Buffer[] = []
      let size = 0
      answer.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_BYTES) fail(`answered more than ${MAX_BYTES} bytes`)
        else chunks.push(chunk)
      })
      answer.on('error', (error) => fail('broke off its answer', error))
      answer.on('end', () => {
        clearTimeout(deadline)
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') })
      })
    })
    ask.end()
  })
}
