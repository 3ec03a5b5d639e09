import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { CliError } from '../io.ts'

/** What a tool of the system answered; `code` is undefined when it is not there or took too long. */
export interface ToolAnswer {
  code: number | undefined
  stdout: string
  stderr: string
}

/** Asks a tool of the system. */
export async function askTool(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<ToolAnswer> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { env, timeout: 30_000 })
    return { code: 0, stdout: stdout.trim(), stderr: stderr.trim() }
  } catch (error) {
    const {
      code,
      stdout = '',
      stderr = '',
      message
    } = error as Error & { code?: unknown; stdout?: string; stderr?: string }
    return {
      code: typeof code === 'number' ? code : undefined,
      stdout: stdout.trim(),
      stderr: stderr.trim() || message.split('\n')[0]!
    }
  }
}

/** Runs a tool of the system that has to succeed. */
export async function runTool(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const answer = await askTool(program, args, env)
  if (answer.code === 0) return answer.stdout
  const reason = answer.stderr.split('\n')[0]!.slice(0, 300)
  throw new CliError('SERVICE_FAILED', `${[program, ...args].join(' ')} failed: ${reason}`)
}
