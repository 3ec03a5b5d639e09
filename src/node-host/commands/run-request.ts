import { type Static, Type } from 'typebox'
import type { Plan, Program } from '../../approvals/plan.ts'
import type { Env } from '../../config/paths.ts'
import { CommandError } from '../command.ts'
import { commandText, saysTheSame, shellPayload } from '../command-text.ts'
import { cutToAllowed, type Freedom, overridesFor } from '../environment.ts'
import { programOf } from '../programs.ts'
import { workingFolder } from '../working-folder.ts'

const text = Type.Optional(Type.String({ maxLength: 65_536 }))

/** What `system.run` and `system.run.prepare` take alike. */
export const runFields = {
  command: Type.Array(Type.String({ maxLength: 1_048_576 }), { minItems: 1, maxItems: 4_096 }),
  rawCommand: Type.Optional(Type.Union([Type.String({ maxLength: 1_048_576 }), Type.Null()])),
  cwd: Type.Optional(Type.Union([Type.String({ minLength: 1, maxLength: 4_096 }), Type.Null()])),
  env: Type.Optional(
    Type.Union([Type.Record(Type.String(), Type.String({ maxLength: 131_072 }), { maxProperties: 256 }), Type.Null()])
  ),
  agentId: Type.Optional(Type.Union([Type.String({ maxLength: 256 }), Type.Null()])),
  sessionKey: Type.Optional(Type.Union([Type.String({ maxLength: 1_024 }), Type.Null()])),
  runId: text
}

const RunFields = Type.Object(runFields)
type RunFields = Static<typeof RunFields>

/** Where this node runs commands when they do not say it themselves. */
export interface RunPlaces {
  env: Env
  /** The folder of a command that names none. */
  cwd: string
  stateDir: string
}

/** One command as it would run here: everything that the policy judges and that then happens. */
export interface RunRequest {
  plan: Plan & { cwd: string; env: Record<string, string>; lookup: (word: string) => Program }
  text: string
  /** What the caller calls it; the text of a shell's script, for example. */
  preview: string | undefined
}

/** Reads a run: the command and what is said of it agree, the folder exists, the environment is one it may have. */
export function runRequest(params: RunFields, places: RunPlaces, freedom: Freedom): RunRequest {
  const { command: argv, rawCommand, agentId } = params
  if (argv[0]!.trim() === '') throw new CommandError('INVALID_REQUEST', 'command required')
  if (typeof rawCommand === 'string' && !saysTheSame(rawCommand, argv)) {
    throw new CommandError('INVALID_REQUEST', 'INVALID_REQUEST: rawCommand does not match command')
  }
  const cwd = workingFolder(params.cwd ?? undefined, places)
  const find = (word: string) => programOf(word, cwd, places.env.PATH)
  const plan = {
    argv,
    cwd,
    ...find(argv[0]!),
    env: environmentOf(params, freedom),
    agentId: agentId ?? undefined,
    lookup: find
  }
  return { plan, text: commandText(argv), preview: shellPayload(argv) }
}

function environmentOf({ command, env }: RunFields, freedom: Freedom): Record<string, string> {
  const shell = shellPayload(command) !== undefined
  const overrides = overridesFor(env ?? {}, shell ? 'any-harmless' : freedom)
  if ('refused' in overrides) {
    throw new CommandError('INVALID_REQUEST', `SYSTEM_RUN_DENIED: environment override rejected (${overrides.refused})`)
  }
  // A shell makes more of its environment than any other program; what it does not get cannot steer it.
  return shell ? cutToAllowed(overrides.env) : overrides.env
}
