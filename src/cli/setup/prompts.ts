import { CliError, type Io } from '../io.ts'
import { printable } from '../output.ts'

/** One of several answers. */
export interface Choice<T extends string> {
  value: T
  label: string
  hint?: string
}

/** The questions of a first run. Each rejects when the person has had enough: nothing is written by halves. */
export interface Prompts {
  choose<T extends string>(message: string, choices: readonly Choice<T>[], initial?: T): Promise<T>
  text(message: string, options?: { initial?: string; check?: (text: string) => void }): Promise<string>
  /** Reads a secret, masked; empty where nothing was typed. */
  secret(message: string): Promise<string>
  confirm(message: string, initial: boolean): Promise<boolean>
  /** Shows what a person has to read before the next question. */
  note(text: string, title: string): void
  end(text: string): void
}

/** Begins to ask; only here is the library of prompts loaded. */
export async function openPrompts(io: Io, title: string): Promise<Prompts> {
  // The library asks the environment alone.
  if (!io.color) process.env.NO_COLOR = '1'
  const clack = await import('@clack/prompts')
  const answered = <T>(answer: unknown): T => {
    if (!clack.isCancel(answer)) return answer as T
    throw new CliError('CANCELLED', 'cancelled; nothing was changed', { exitCode: 130 })
  }
  clack.intro(title)
  return {
    async choose<T extends string>(message: string, choices: readonly Choice<T>[], initial?: T) {
      const options = choices.map((choice) => ({ ...choice })) as never
      return answered<T>(await clack.select<T>({ message, options, ...(initial && { initialValue: initial }) }))
    },
    async text(message, { initial, check } = {}) {
      const validate = (text: string | undefined): string | undefined => {
        try {
          check?.(text ?? '')
          return undefined
        } catch (error) {
          return printable((error as Error).message)
        }
      }
      return (
        answered<string | undefined>(
          await clack.text({ message, validate, ...(initial && { initialValue: initial }) })
        ) ?? ''
      )
    },
    async secret(message) {
      return answered<string | undefined>(await clack.password({ message })) ?? ''
    },
    async confirm(message, initial) {
      return answered<boolean>(await clack.confirm({ message, initialValue: initial }))
    },
    note: (text, heading) => clack.note(printable(text), heading),
    end: (text) => clack.outro(text)
  }
}
