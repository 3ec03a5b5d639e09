import { Command } from 'commander'
import { scopesFor } from '../../../client/method-scopes.ts'
import { addTargetOptions, parseTimeout, type TargetOptions, withGateway } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { printJson } from '../../output.ts'

const TIMEOUT_MS = 10_000

/** `openclaw gateway call METHOD`: any method of the gateway, its answer as JSON. */
export function buildCall(io: Io): Command {
  const command = new Command('call')
    .description('Call a method of the gateway and print its answer')
    .argument('<method>', 'Method name: health, status, system-presence, …')
    .option('--params <json5>', 'Parameters, a JSON5 object', '{}')
    .option('--expect-final', 'Wait for the final answer of a method that first says "accepted"')
    .addHelpText(
      'after',
      `
Examples:
  openclaw gateway call system-presence
  openclaw gateway call logs.tail --params '{limit: 20}'`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((method: string, options: CallOptions) =>
    call(io, method, options)
  )
}

interface CallOptions extends TargetOptions {
  params: string
  expectFinal?: boolean
}

async function call(io: Io, method: string, options: CallOptions): Promise<void> {
  const params = await parseParams(options.params)
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const result = await withGateway(io, options, { scopes: scopesFor(method), timeoutMs }, ({ client }) =>
    client.request(method, params, { timeoutMs, expectFinal: options.expectFinal === true })
  )
  printJson(io, result ?? null)
}

async function parseParams(text: string): Promise<object> {
  let value: unknown
  try {
    // JSON is the common case, and needs no parser loaded.
    value = JSON.parse(text)
  } catch {
    const { default: JSON5 } = await import('json5')
    try {
      value = JSON5.parse(text)
    } catch (cause) {
      throw new CliError('USAGE', `--params is not valid JSON5: ${(cause as Error).message.replace(/^JSON5: /, '')}`, {
        fix: `openclaw gateway call METHOD --params '{key: "value"}'`,
        cause
      })
    }
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new CliError('USAGE', '--params must be an object', {
    fix: `openclaw gateway call METHOD --params '{key: "value"}'`
  })
}
