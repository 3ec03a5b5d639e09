import type { GatewayClient } from '../../client/core.ts'
import type { NodeEntry } from '../../client/node-entry.ts'
import { type NodeRunResult, runOnNode } from '../../client/node-run.ts'
import type { EventFrame } from '../../protocol/frames.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { parseDuration } from '../duration.ts'
import { ownFix } from '../errors.ts'
import { nodeName } from '../find-node.ts'
import { withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable } from '../output.ts'
import { Interrupt, Interrupted } from './interrupt.ts'
import { type Ask, allNodes, type NodeOptions, TIMEOUT_MS, workingNode } from './inventory.ts'
import { RunInput } from './run-input.ts'
import { type Piece, RunOutput } from './run-output.ts'
import { explainRun, report, withOwnCode } from './run-report.ts'

/** Where and how a program runs. `--timeout` is the program's. */
export interface RunOptions extends NodeOptions {
  cwd?: string
  env?: string[]
  stdin?: boolean
}

/** A program to run. */
export interface RunSpec {
  argv: readonly string[]
  cwd: string | undefined
  env: Record<string, string> | undefined
  /** Undefined: for as long as it takes. */
  timeoutMs: number | undefined
  stdin: boolean
}

const SCOPES: readonly Scope[] = ['operator.read', 'operator.write', 'operator.approvals', 'operator.pairing']
const LONGEST_MS = 86_340_000
const TELL_BYTES = 65_536

/** `nodes run` */
export async function run(io: Io, argv: readonly string[], options: RunOptions): Promise<void> {
  const spec = specOf(argv, options)
  const interrupt = new Interrupt()
  const json = options.json === true
  const output = new RunOutput(json ? async () => {} : (stream, data) => written(process[stream], data))
  let hear = (_frame: EventFrame): void => {}
  try {
    const wants = { scopes: SCOPES, timeoutMs: TIMEOUT_MS, silent: true, onEvent: (frame: EventFrame) => hear(frame) }
    const { node, result } = await withGateway(io, options, wants, async ({ client, hello }) => {
      if (spec.stdin && hello.features?.methods.includes('node.invoke.input') === false) throw noInput()
      const ask: Ask = (method, params = {}) => client.request(method, params, { timeoutMs: TIMEOUT_MS })
      const node = workingNode(await allNodes(ask), options.node, 'system.run')
      const running = new Running(io, client, node, { spec, interrupt, output })
      hear = (frame) => running.hear(frame)
      return { node, result: await running.result() }
    })
    if (!output.end(result)) io.stderr('note: some of the output was lost on the way')
    report(io, node, { spec, result, json, exact: output.exact })
  } catch (error) {
    // Whoever read the output went away; there is nobody to tell.
    if (error instanceof Interrupted && error.signal === 'SIGPIPE') return io.exit(error.exitCode)
    throw withOwnCode(error)
  } finally {
    interrupt.close()
  }
}

/** One program on a node, from the question whether it may to its end. */
class Running {
  readonly #io: Io
  readonly #client: GatewayClient
  readonly #node: NodeEntry
  readonly #spec: RunSpec
  readonly #interrupt: Interrupt
  readonly #output: RunOutput
  readonly #input: RunInput | undefined
  #key = ''
  /** How much of the output the node knows to have been taken. */
  #told = 0
  #approval: string | undefined

  constructor(
    io: Io,
    client: GatewayClient,
    node: NodeEntry,
    { spec, interrupt, output }: { spec: RunSpec; interrupt: Interrupt; output: RunOutput }
  ) {
    this.#io = io
    this.#client = client
    this.#node = node
    this.#spec = spec
    this.#interrupt = interrupt
    this.#output = output
    if (spec.stdin) {
      this.#input = new RunInput(process.stdin, (piece) => client.request('node.invoke.input', this.#about(piece)))
    }
  }

  async result(): Promise<NodeRunResult> {
    const { argv, stdin, ...manner } = this.#spec
    const { nodeId } = this.#node
    const work = runOnNode(
      this.#client,
      // Whoever runs it sees how it ends.
      { nodeId, command: argv, ...manner, input: stdin, apart: true, quiet: true },
      {
        started: (key) => {
          this.#key = key
          this.#approval = undefined
        },
        waits: (id) => {
          this.#approval = id
          this.#tell(id)
        }
      }
    )
    try {
      return await this.#interrupt.during(
        work,
        () => this.#giveUp(),
        `nothing of it runs on ${nodeName(this.#node)} now`
      )
    } catch (error) {
      throw explainRun(error, this.#node)
    } finally {
      this.#input?.close()
    }
  }

  /** Hears an event of the gateway's. */
  hear({ event, payload }: EventFrame): void {
    const piece = payload as Piece & { idempotencyKey?: string }
    if (event !== 'node.invoke.progress' || piece.idempotencyKey !== this.#key) return
    if (piece.stream === 'stdin') this.#input?.taken(Number(piece.chunk))
    void this.#output.take(piece).then((bytes) => this.#took(bytes))
  }

  // The node sends no more than so much that was not taken yet.
  #took(bytes: number): void {
    if (bytes - this.#told < TELL_BYTES) return
    this.#told = bytes
    this.#client.request('node.invoke.input', this.#about({ taken: bytes })).catch(() => {
      // It is over.
    })
  }

  #giveUp(): Promise<unknown> {
    // Whoever asked may take the question back; a no is what that comes to.
    return this.#approval === undefined
      ? this.#client.request('node.invoke.cancel', this.#about({}))
      : this.#client.request('exec.approval.resolve', { id: this.#approval, decision: 'deny' })
  }

  #about(piece: object): object {
    return { nodeId: this.#node.nodeId, idempotencyKey: this.#key, ...piece }
  }

  #tell(id: string): void {
    const command = (decision: string) =>
      ownFix(this.#io, { command: `openclaw approvals resolve ${id} ${decision}`, where: 'gateway host' }, false)
        .command
    this.#io.stderr(`waiting: ${nodeName(this.#node)} wants a person to allow this. On the gateway host:`)
    this.#io.stderr(printable(`  ${command('allow-once')}`))
    this.#io.stderr(printable(`  ${command('deny')}`))
  }
}

function noInput(): CliError {
  return new CliError('INPUT_UNSUPPORTED', 'this gateway carries no input to what runs on a node', {
    fix: 'leave out --stdin, or use openclaw-gateway there'
  })
}

function written(stream: NodeJS.WriteStream, data: string | Buffer): Promise<void> {
  return new Promise((resolve) => stream.write(data, () => resolve()))
}

function specOf(argv: readonly string[], { cwd, env = [], timeout, stdin = false }: RunOptions): RunSpec {
  if ((argv[0] ?? '').trim() === '') {
    throw new CliError('USAGE', 'which program? Put it behind --', {
      fix: 'openclaw nodes run --node NODE -- uname -a'
    })
  }
  if (cwd?.trim() === '') {
    throw new CliError('USAGE', '--cwd is empty', { fix: 'openclaw nodes run --cwd /srv -- ls' })
  }
  const variables = env.map((pair): [string, string] => {
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(pair) ?? []
    if (name !== undefined) return [name, value!]
    throw new CliError('USAGE', `Invalid --env ${JSON.stringify(pair)}. Use NAME=VALUE.`, {
      fix: 'openclaw nodes run --env LANG=C -- date'
    })
  })
  return {
    argv,
    cwd,
    env: variables.length === 0 ? undefined : Object.fromEntries(variables),
    timeoutMs: timeout === undefined ? undefined : parseDuration(timeout, '--timeout', LONGEST_MS),
    stdin
  }
}
