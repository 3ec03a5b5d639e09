import { chmodSync, mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { isTailnet } from './auth/addresses.ts'
import { listenTargets, loopbackOnly, startRefusal } from './auth/bind-policy.ts'
import { ConfigError } from './config/errors.ts'
import { firstStart } from './config/first-start.ts'
import { loadConfig } from './config/load.ts'
import { type Env, resolvePaths } from './config/paths.ts'
import type { Config, ConfigFlags } from './config/types.ts'
import { VERSION } from './package.ts'

/** How a gateway process is started. */
export interface RunOptions {
  env: Env
  flags: ConfigFlags
  profile: string | undefined
  dev: boolean
  force: boolean
  stdout(text: string): void
  stderr(text: string): void
}

const LOCK_TRIES = 5
const LOCK_WAIT_MS = 100

/** The configuration does not allow a start; a supervisor should not try again (EX_CONFIG). */
const EXIT_CONFIG = 78
/** By now a start is over, and whoever waited for it has been served. */
const SETTLED_MS = 1_000

/** Runs a gateway until it is told to stop. Resolves with the exit code; a refusal has said why in one sentence. */
export async function runGateway(options: RunOptions): Promise<number> {
  const { env, flags, stderr } = options
  // Arguments can hold secrets, and every user of the machine can read them.
  process.title = 'openclaw-gateway'
  try {
    const paths = resolvePaths(env, options)
    const started = flags.allowUnconfigured ? { wrote: false } : await firstStart(paths, env, flags)
    const config = await loadConfig({ env, paths, flags })
    const refusal = startRefusal(config.gateway)
    if (refusal !== undefined) throw new Refused(refusal.message, EXIT_CONFIG)
    return await serve(config, { ...options, firstStart: started.wrote })
  } catch (error) {
    if (error instanceof Refused) stderr(`Gateway failed to start: ${error.message}`)
    else if (error instanceof ConfigError)
      stderr(`Gateway failed to start: ${error.message}\nfix: ${error.fix.command}`)
    else throw error
    return error.exitCode
  }
}

class Refused extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode: number, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.exitCode = exitCode
  }
}

async function serve(config: Config, options: RunOptions & { firstStart: boolean }): Promise<number> {
  const { stateDir } = config.paths
  // A stop that comes during the start is done as soon as there is something to stop.
  const stopped = stopSignal()
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  chmodSync(stateDir, 0o700)
  // Loaded here, so that a refusal above costs nothing.
  const [
    { lockState },
    { openDatabase, NewerSchemaError },
    { openLog },
    { buildApp },
    { openMain, openPrivate, openProxy, ListenerFailed },
    { expose, learnName },
    { PortTaken },
    { Stability },
    { writeBundle }
  ] = await Promise.all([
    import('./store/lock.ts'),
    import('./store/database.ts'),
    import('./log.ts'),
    import('./app.ts'),
    import('./listeners.ts'),
    import('./exposure.ts'),
    import('./port-owner.ts'),
    import('./rpc/stability.ts'),
    import('./rpc/stability-bundle.ts')
  ])
  let lock = lockState(stateDir, process.pid)
  // A command that works on the state of a stopped gateway holds it for a moment.
  for (let tries = 0; 'heldBy' in lock && tries < LOCK_TRIES; tries++) {
    await sleep(LOCK_WAIT_MS)
    lock = lockState(stateDir, process.pid)
  }
  if ('heldBy' in lock) {
    const who = lock.heldBy === undefined ? 'another gateway' : `another gateway (pid ${lock.heldBy})`
    throw new Refused(`${who} already owns ${stateDir}; stop it, or run a second one with --profile NAME.`, EXIT_CONFIG)
  }
  const {
    log,
    file: logFile,
    flush
  } = await openLog({ stateDir, level: config.logLevel, tty: process.stdout.isTTY === true })
  const opened: Server[] = []
  let stability = new Stability()
  const fatal = (error: unknown, reason: string) => {
    log.fatal({ err: error }, 'the gateway ends by an error')
    flush()
    try {
      writeBundle(stateDir, reason, error, stability.snapshot({ limit: 1_000 }))
    } catch (err) {
      // A full disk, for one. Why the process ends matters more.
      log.error({ err }, 'no bundle written')
    }
  }
  const uncaught = (error: Error, origin: string) =>
    fatal(error, origin === 'uncaughtException' ? 'uncaught' : 'rejection')
  // A monitor only looks: the process ends as it would without.
  process.on('uncaughtExceptionMonitor', uncaught)
  try {
    const db = openDatabase(join(stateDir, 'gateway.sqlite'))
    const { env, flags } = options
    const load = () => loadConfig({ env, paths: config.paths, flags })
    const app = await buildApp(config, { db, log, logFile, env, load })
    stability = app.stability
    await app.ready()
    const targets = listenTargets(config.gateway, {
      loopbackWorks: config.gateway.bind !== 'auto' || (await canBind('127.0.0.1')),
      tailnetAddress: tailnetAddress()
    })
    const close = () => {
      for (const server of opened) server.close()
      return app.close()
    }
    const { auth, port } = config.gateway
    try {
      if (auth.mode === 'trusted-proxy' && auth.trustedProxy?.socket)
        await openProxy(app, auth.trustedProxy.socket, opened)
      await openMain(app, targets, port, opened)
    } catch (error) {
      // All of them or none.
      await close()
      throw error
    }
    await openPrivate(app, 'local', config.paths.localSocket, opened).catch((err) => {
      log.error({ err }, 'local socket failed')
      app.stability.record('listener.failed', { surface: 'local', reason: err.code })
    })
    const exposure = await expose(app, opened)
    app.exposure = exposure
    const stopLearning = learnName(app)
    for (const warning of config.warnings) log.warn(warning)
    log.info({ port, bind: config.gateway.bind, auth: auth.mode }, 'ready')
    app.stability.record('gateway.started', { durationMs: app.health.uptimeMs })
    await welcome(app, options)
    // A start leaves 11 MB of garbage, which V8 would keep for as long as nobody comes.
    setTimeout(() => globalThis.gc?.({ type: 'major', flavor: 'last-resort', execution: 'sync' }), SETTLED_MS).unref()

    const signal = await stopped
    log.info({ signal }, 'stopping')
    app.stability.record('gateway.stopping', { reason: signal })
    stopLearning()
    await Promise.all([app.drain(), exposure?.stop()])
    await close()
    db.close()
    log.info('stopped')
    return 0
  } catch (error) {
    if (error instanceof PortTaken) throw new Refused(error.message, 1)
    if (error instanceof ListenerFailed) throw new Refused(error.message, 1)
    // A refusal says what mends it; nothing has gone wrong with the process.
    if (error instanceof ConfigError) throw error
    if (error instanceof NewerSchemaError) throw new Refused(error.message, EXIT_CONFIG)
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'LISTEN_REFUSED') throw new Refused(message, EXIT_CONFIG)
    if (code === 'EADDRNOTAVAIL' || code === 'EACCES') throw new Refused(`cannot listen: ${message}`, 1)
    fatal(error, 'failed')
    throw error
  } finally {
    process.off('uncaughtExceptionMonitor', uncaught)
    flush()
    lock.release()
  }
}

// Says where the gateway is. The one-time link goes to a person: at a terminal, or at the very first start.
async function welcome(app: FastifyInstance, options: RunOptions & { firstStart: boolean }): Promise<void> {
  const { port, auth, bind, controlUi } = app.config.gateway
  const { tls } = app
  const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}${controlUi.basePath}/`
  options.stdout(`openclaw-gateway ${VERSION} is ready on ${url} (bind: ${bind}, auth: ${auth.mode})`)
  if (tls !== undefined) options.stdout(`TLS certificate: ${tls.current.fingerprint}`)
  if (options.firstStart) options.stdout(`Wrote ${app.config.paths.configPath}`)
  if (!controlUi.enabled || !(options.firstStart || process.stdout.isTTY)) return
  const { launchLink } = await import('./devices/setup.ts')
  const link = auth.mode === 'none' ? url : `${url}#bootstrapToken=${(await launchLink(app.setupCodes)).bootstrapToken}`
  if (auth.mode !== 'none') {
    app.trail.record({ kind: 'launch.created', outcome: 'changed', who: 'owner', address: 'local', method: 'owner' })
  }
  options.stdout(`Open the Control UI on this machine: ${link}`)
  if (auth.mode !== 'none') options.stdout('The link works once, for ten minutes; "openclaw dashboard" makes another.')
  if (!loopbackOnly(app.config.gateway))
    options.stdout('From elsewhere, use the address of this host and sign in with the shared secret.')
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(130))
        resolve(signal)
      })
    }
  })
}

async function canBind(host: string): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(0, host, () => server.close(() => resolve(true)))
  })
}

function tailnetAddress(): string | undefined {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const own = addresses.filter(({ address }) => isTailnet(address))
  return (own.find(({ family }) => family === 'IPv4') ?? own[0])?.address
}
