import { spawn } from 'node:child_process'
import type { Command } from './cli.ts'

const TERM_MS = 3_000
const MAX_OUTPUT = 4_096

/**
 * Runs a command for as long as its input stays open, so that a gateway that is killed leaves nothing behind. A line of
 * input is a signal to send; `end` waits for a command that has ended. The shell is the command's parent and waits for
 * it last: until then its process id is nobody else's.
 */
const SCRIPT = `
"$@" </dev/null &
command=$!
exec >/dev/null 2>&1
while read -r word; do
  case $word in
    end) wait "$command"; exit ;;
    *) kill -s "$word" "$command" ;;
  esac
done
kill -s TERM "$command"
for second in 1 2 3; do
  sleep 1
  kill -s 0 "$command" || exit
done
kill -s KILL "$command"
`

/** A command that runs until it is stopped, and not longer than this process. */
export class HeldCommand {
  /** Resolves when the command has ended, or could not be started. */
  readonly ended: Promise<void>
  #output = ''
  #send: (...words: string[]) => void

  /** Starts the command; `onOutput` is called whenever it has said more. */
  constructor({ file, args, env }: Command, onOutput: (held: HeldCommand) => void) {
    // A session of its own: Ctrl+C at a terminal stops the gateway, and the gateway this.
    const shell = spawn('/bin/sh', ['-c', SCRIPT, 'sh', file, ...args], { env, stdio: 'pipe', detached: true })
    shell.stdin.on('error', () => {})
    this.#send = (...words) => {
      if (shell.stdin.writable) shell.stdin.write(words.map((word) => `${word}\n`).join(''))
    }
    let open = 2
    for (const stream of [shell.stdout, shell.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-MAX_OUTPUT)
        onOutput(this)
      })
      // The command alone holds them: closed, it is gone, or should be.
      stream.on('close', () => {
        if (--open === 0) this.#send('KILL', 'end')
      })
    }
    this.ended = new Promise((resolve) => {
      shell.once('exit', () => {
        // Somebody may have ended the shell alone.
        if (open > 0) killGroup(shell.pid)
        resolve()
      })
      shell.once('error', (error) => {
        this.#output += `cannot run /bin/sh: ${error.message}`
        resolve()
      })
    })
  }

  /** The last of what it has said. */
  get output(): string {
    return this.#output
  }

  /** Ends the command: SIGTERM, and SIGKILL for one that has not ended after 3 seconds. */
  async stop(): Promise<void> {
    this.#send('TERM')
    const timer = setTimeout(() => this.#send('KILL'), TERM_MS)
    await this.ended
    clearTimeout(timer)
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}
