import { ClientError } from '../../src/client/errors.ts'

/** The code with which the client refuses; undefined when it does not. */
export function refusal(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof ClientError) return error.code
    throw error
  }
}
