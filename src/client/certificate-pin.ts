import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** The pin of this host's own gateway: its public certificate, undefined when there is none that can be read. */
export async function certificatePin(path: string): Promise<string | undefined> {
  try {
    return new X509Certificate(await readFile(path)).fingerprint256
  } catch {
    return undefined
  }
}
