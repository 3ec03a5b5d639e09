import { Command, Option } from 'commander'
import { CliError, type Io } from '../../io.ts'
import type { ControlOptions, InstallOptions } from '../../service/control.ts'

const READY_MS = 30_000

/** `openclaw gateway install`: keeps the gateway running, now and after a restart of the machine. */
export function buildInstall(io: Io): Command {
  return new Command('install')
    .description('Install the gateway as a service of this user, and start it')
    .option('--port <port>', 'Port to listen on, in place of the configured one')
    .option('--force', 'Write the service anew over what is installed, and restart it')
    .option('--print', "Show the service's file, and write nothing")
    .option('--timeout <ms>', 'How long to wait until it is ready, in milliseconds', String(READY_MS))
    .option('--json', 'Print JSON')
    .addOption(new Option('--token <token>').hideHelp())
    .addHelpText(
      'after',
      `
The service's file holds no secret: the gateway reads its own from the configuration, or from .env in the state folder.

Examples:
  openclaw gateway install
  openclaw gateway install --print          (shows the file, and writes nothing)
  openclaw gateway install --force          (after an update that moved the program, or another state folder)
  openclaw --profile work gateway install --port 19100`
    )
    .action(async ({ token, ...options }: InstallOptions & { token?: string }) => {
      if (token !== undefined) {
        throw new CliError(
          'USAGE',
          '--token would end in a file and in the list of processes, where others can read it',
          {
            fix: 'openclaw config set gateway.auth.token "<token>", then openclaw gateway install'
          }
        )
      }
      const { installGateway } = await import('../../service/control.ts')
      await installGateway(io, options)
    })
}

const DESCRIPTIONS = {
  start: 'Start the installed service, and wait until it is ready; one that runs is left alone',
  stop: 'Stop the service; it starts again with the next login',
  restart: 'Stop the service, start it again, and wait until it is ready',
  uninstall: 'Stop the service, and remove it; configuration and state stay'
} as const

/** `openclaw gateway start|stop|restart|uninstall`. */
export function buildControl(io: Io, action: keyof typeof DESCRIPTIONS): Command {
  const command = new Command(action).description(DESCRIPTIONS[action]).option('--json', 'Print JSON')
  if (action === 'start' || action === 'restart') {
    command.option('--timeout <ms>', 'How long to wait until it is ready, in milliseconds', String(READY_MS))
  }
  // Scripts that were written for the reference pass it; nothing here has to be forced.
  if (action === 'stop' || action === 'restart') command.addOption(new Option('--force').hideHelp())
  return command.action(async (options: ControlOptions) => {
    const { controlGateway } = await import('../../service/control.ts')
    await controlGateway(io, action, options)
  })
}
