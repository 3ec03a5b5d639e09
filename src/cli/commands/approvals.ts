import { Command } from 'commander'
import { type DecideOptions, pending, resolve } from '../approvals/decide.ts'
import { type HostOptions, TIMEOUT_MS } from '../approvals/host.ts'
import {
  type AllowlistOptions,
  addRule,
  get,
  listRules,
  removeRule,
  type SetOptions,
  set
} from '../approvals/policy.ts'
import { addTargetOptions, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'

/** `openclaw approvals`: what hosts let their agents run, and the commands that wait for an answer. */
export function build(io: Io): Command {
  const command = new Command('approvals')
    .description('Say which commands agents may run on a host, and answer those that wait for you')
    .usage('<command> [options]')
    .addHelpText(
      'after',
      `
get, set and allowlist are about this host's own file, and need no gateway; with --gateway or --node they are about
another host's. pending and resolve ask the gateway, where requests wait.

Examples:
  openclaw approvals allowlist add "/usr/bin/uname"
  openclaw approvals allowlist add --agent main --node kitchen "~/bin/**/rg"
  openclaw approvals get --gateway
  openclaw approvals pending
  openclaw approvals resolve ID allow-once`
    )
  const onHost = (parent: Command, name: string, description: string): Command =>
    addTargetOptions(parent.command(name).description(description), TIMEOUT_MS)
      .option('--gateway', "The gateway's host")
      .option('--node <node>', 'A node, by its id, name, address, or the start of its id')
  const atGateway = (name: string, description: string): Command =>
    addTargetOptions(command.command(name).description(description), TIMEOUT_MS)

  onHost(command, 'get', 'Show what a host allows').action((options: HostOptions) => get(io, options))
  onHost(command, 'set', 'Replace what a host allows')
    .option('--file <path>', 'Read it from a file, JSON5')
    .option('--stdin', 'Read it from standard input, JSON5')
    .addHelpText(
      'after',
      `
security: deny (nothing runs), allowlist (what a rule allows), full (everything)
ask:      off (nobody is asked), on-miss (where no rule allows it), always

Example:
  openclaw approvals set --stdin <<'EOF'
  {
    version: 1,
    defaults: { security: "allowlist", ask: "on-miss" },
    agents: { "*": { allowlist: [{ pattern: "rg" }] } }
  }
  EOF`
    )
    .action((options: SetOptions) => set(io, options))
  const allowlist = command
    .command('allowlist')
    .description('Show and change the rules of a host')
    .usage('<command> [options]')
    .addHelpText(
      'after',
      `
A rule is a path, in which * stands for anything within a name and ** for any folders, or a bare name for a program
that is found on PATH.

Examples:
  openclaw approvals allowlist add "/usr/bin/uname"
  openclaw approvals allowlist add --agent main "~/bin/**/rg"
  openclaw approvals allowlist remove "/usr/bin/uname"`
    )
  onHost(allowlist, 'list', 'Show the rules')
    .option('--agent <id>', 'Those of one agent')
    .action((options: AllowlistOptions) => listRules(io, options))
  onHost(allowlist, 'add', 'Allow a program, whatever its arguments')
    .argument('<pattern>', 'A path, a glob over paths, or a bare name')
    .option('--agent <id>', 'For one agent alone', '*')
    .action((pattern: string, options: AllowlistOptions) => addRule(io, pattern, options))
  onHost(allowlist, 'remove', 'Take a rule away')
    .argument('<pattern>', 'Its pattern as it is written there, or its id')
    .option('--agent <id>', 'Of one agent alone', '*')
    .action((pattern: string, options: AllowlistOptions) => removeRule(io, pattern, options))
  atGateway('pending', 'Show the commands that wait for an answer').action((options: TargetOptions) =>
    pending(io, options)
  )
  atGateway('resolve', 'Answer a command that waits')
    .argument('<id>', 'Its id, or the start of it')
    .argument('<decision>', 'allow-once, allow-always or deny')
    .option('--reason <text>', 'A note, shown with the outcome and kept nowhere')
    .action((id: string, decision: string, options: DecideOptions) => resolve(io, id, decision, options))
  atGateway('approve', 'Allow a command that waits, once')
    .argument('<id>', 'Its id, or the start of it')
    .option('--always', 'The same command in the same folder, from now on')
    .action((id: string, options: DecideOptions) =>
      resolve(io, id, options.always === true ? 'allow-always' : 'allow-once', options)
    )
  atGateway('deny', 'Refuse a command that waits')
    .argument('<id>', 'Its id, or the start of it')
    .option('--reason <text>', 'A note, shown with the outcome and kept nowhere')
    .action((id: string, options: DecideOptions) => resolve(io, id, 'deny', options))
  return command
}
