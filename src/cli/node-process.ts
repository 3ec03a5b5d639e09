import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { approvalsPath } from '../approvals/file.ts'
import { loadConfig } from '../config/load.ts'
import { readNodeHost } from '../config/node-host.ts'
import type { Env } from '../config/paths.ts'
import type { Paths } from '../config/types.ts'
import { openLog } from '../log.ts'
import { nodeCommands } from '../node-host/commands/index.ts'
import { NodeCredentials } from '../node-host/credentials.ts'
import { NodeHostError } from '../node-host/errors.ts'
import { ExecPolicy } from '../node-host/exec-policy.ts'
import { NodeHost } from '../node-host/host.ts'
import { ensureIdentity } from '../node-host/identity.ts'
import { McpServers } from '../node-host/mcp/servers.ts'
import { firstReachable, type SetupCode } from '../node-host/setup-code.ts'
import { readSkills } from '../node-host/skills.ts'
import { StandingFile } from '../node-host/standing.ts'
import { NodeMemory } from '../node-host/state.ts'
import { type GatewayFlags, nodeTarget, nodeWay, pairedTarget } from '../node-host/target.ts'
import type { Trouble } from '../node-host/trouble.ts'
import { lockState } from '../store/lock.ts'

/** How a node host is started. */
export interface OpenNode {
  paths: Paths
  /** The environment with what the state folder's `.env` adds: for configuration and credentials. */
  env: Env
  /** The environment as it is: for what the node runs. */
  ownEnv: Env
  /** Where commands run that do not name a folder. */
  cwd: string
  flags: GatewayFlags
  instanceId: string | undefined
  displayName: string | undefined
  /** A setup code to pair with first, which also says where. */
  pair?: SetupCode | undefined
  say(text: string): void
  /** Hears why there is no connection; undefined: there is one. */
  onTrouble(trouble: Trouble | undefined): void
}

/** A node host that runs. */
export interface OpenedNode {
  nodeId: string
  gateway: string
  ended: Promise<void>
  /** Ends when a setup code has let this node in; rejects when it does not. */
  paired: Promise<void>
  stop(): Promise<void>
}

/** Puts a node host together and starts it; reports who runs it when somebody does already. */
export async function openNode(
  options: OpenNode
): Promise<OpenedNode | { heldBy: number | undefined; gateway: string }> {
  const { paths, env, ownEnv, flags, pair, say } = options
  const { stateDir } = paths
  const config = await loadConfig({ env, paths, client: true })
  const nodeHost = readNodeHost(paths, env)
  const memory = new NodeMemory(stateDir)
  const found = pair && { url: (await firstReachable(pair.urls)).href, fingerprint: pair.fingerprint }
  const target = found ? pairedTarget(found, flags) : nodeTarget(flags, config, env, (await memory.read())?.gateway)
  const gateway = target.url.href
  mkdirSync(join(stateDir, 'node'), { recursive: true, mode: 0o700 })
  const name = `gateway-${createHash('sha256').update(gateway).digest('hex').slice(0, 8)}`
  const lock = lockState(join(stateDir, 'node'), process.pid, name)
  if ('heldBy' in lock) return { ...lock, gateway }
  const standing = new StandingFile(join(stateDir, 'node'), name, gateway)
  const identity = await ensureIdentity(stateDir)
  const state = await memory.open({ instanceId: options.instanceId, displayName: options.displayName })
  const { log, file, flush } = await openLog({ stateDir, level: config.logLevel, tty: undefined, name: 'node' })
  const warned = new Set<string>()
  // Each connection may warn of the same.
  const warn = (text: string) => {
    if (warned.has(text)) return
    warned.add(text)
    log.warn(text)
    say(`warning: ${text}`)
  }
  for (const warning of [...config.warnings, ...nodeHost.warnings]) warn(warning)
  const mcp = new McpServers(nodeHost.mcpServers, ownEnv, log)
  const approvals = approvalsPath(stateDir)
  const commands = nodeCommands({
    places: { env: ownEnv, cwd: options.cwd, stateDir },
    policy: new ExecPolicy(approvals),
    approvalsPath: approvals,
    mcp
  })
  const known = state.tokens[gateway]?.token
  const paired = Promise.withResolvers<void>()
  // Whoever does not pair by a code does not look.
  paired.promise.catch(() => {})
  const host = new NodeHost({
    target,
    way: () => nodeWay(target, { env, paths, onWarning: warn }),
    identity,
    credentials: new NodeCredentials({
      target,
      env,
      paths,
      deviceToken: known,
      keep: (token) => memory.remember(gateway, token),
      bootstrap: found && {
        token: pair!.bootstrapToken,
        async accepted() {
          await memory.paired(found)
          paired.resolve()
        },
        refused: (cause) => paired.reject(refusedCode(cause))
      }
    }),
    instanceId: state.instanceId,
    displayName: state.displayName ?? hostname(),
    path: ownEnv.PATH,
    commands,
    announced: {
      skills: async () => (nodeHost.skills ? readSkills(stateDir, (facts, message) => log.warn(facts, message)) : []),
      tools: () => mcp.tools()
    },
    log,
    onTrouble: (trouble) => {
      log.warn({ gateway, reason: trouble.message, fix: trouble.fix }, 'not connected')
      standing.troubled(trouble)
      options.onTrouble(trouble)
    },
    onConnected: ({ server, auth }) => {
      log.info({ gateway, version: server.version, method: auth.method }, 'connected')
      standing.connected()
      options.onTrouble(undefined)
      say(`connected to ${gateway} as ${identity.id.slice(0, 12)}…`)
    }
  })
  say(`openclaw node ${identity.id.slice(0, 12)}… for ${gateway}; log: ${file}`)
  if (known === undefined) {
    say(
      'What it may do is approved on the gateway host, the first time: openclaw nodes pending, openclaw nodes approve ID'
    )
  }
  mcp.start(() => host.toolsChanged())
  const stop = async () => {
    log.info('stopping')
    await Promise.all([host.stop(), mcp.stop()])
    flush()
    lock.release()
  }
  let stopping: Promise<void> | undefined
  return {
    nodeId: identity.id,
    gateway,
    ended: host.run(),
    paired: paired.promise,
    stop() {
      stopping ??= stop()
      return stopping
    }
  }
}

function refusedCode(cause: Error): NodeHostError {
  return new NodeHostError('SETUP_CODE_REFUSED', 'this setup code was used already, or has expired', {
    fix: 'openclaw devices join-code (on the gateway host)',
    cause
  })
}
