import type { DatabaseSync } from 'node:sqlite'
import fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Env } from './config/paths.ts'
import type { Config } from './config/types.ts'
import audit from './plugins/audit.ts'
import authentication from './plugins/authentication.ts'
import catalogue from './plugins/catalogue.ts'
import { schemaController } from './plugins/compilers.ts'
import discovery from './plugins/discovery.ts'
import errors from './plugins/errors.ts'
import ingress from './plugins/ingress.ts'
import jsonBody from './plugins/json-body.ts'
import methods from './plugins/methods.ts'
import nodes from './plugins/nodes.ts'
import notFound from './plugins/not-found.ts'
import reload from './plugins/reload.ts'
import securityHeaders from './plugins/security-headers.ts'
import state from './plugins/state.ts'
import surfaces from './plugins/surfaces.ts'
import tls from './plugins/tls.ts'
import tools from './plugins/tools.ts'
import adminRpc from './routes/admin-rpc.ts'
import controlUi from './routes/control-ui.ts'
import events from './routes/events.ts'
import gateway from './routes/gateway.ts'
import join from './routes/join.ts'
import metrics from './routes/metrics.ts'
import openapi from './routes/openapi.ts'
import probes from './routes/probes.ts'
import toolsRoute from './routes/tools.ts'
import { createGatewayServer } from './server.ts'
import type { TlsMaterial } from './tls/material.ts'

/** What a gateway is built from, besides its configuration. */
export interface AppDeps {
  /** The state database; `openDatabase(':memory:')` for a gateway that remembers nothing. */
  db: DatabaseSync
  log?: FastifyBaseLogger
  /** The file that `logs.tail` reads. */
  logFile: string
  /** The environment that `${VAR}` in the configuration file is read from, for `config.*`. */
  env?: Env
  /** Reads the configuration again; without it, edits of the file take effect at the next start. */
  load?: () => Promise<Config>
}

/** Builds the gateway. Nothing listens yet: `listen` the app, or hand it sockets as `main.ts` does. */
export async function buildApp(config: Config, deps: AppDeps): Promise<FastifyInstance> {
  const { db, log, logFile, env = {}, load } = deps
  const material = await openTls(config, log)
  const app = fastify({
    serverFactory: (handler) => createGatewayServer(handler, config.gateway, material),
    // With a server that is made elsewhere, this only says how Fastify is to write its address.
    ...(material === undefined ? {} : { https: {} as never }),
    bodyLimit: 1_048_576,
    schemaController,
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 256 }
  })

  // Given as an option, Fastify would listen to every response and make every request a logger of its own, and half of
  // what `/healthz` costs would be logging that never happens. One log serves all; `ingress` puts it on requests.
  if (log !== undefined) app.log = log

  // What everything shares, and how it changes while the gateway runs.
  await app.register(state, { config, db, env })
  await app.register(tls, { material })
  await app.register(reload, { load })
  await app.register(nodes, { db })

  // What can be called.
  await app.register(methods, { env, logFile })
  await app.register(tools)

  // In the order that makes it safe: refuse unattributed and misdirected requests, then unknown pages, then authenticate.
  await app.register(errors)
  await app.register(audit)
  await app.register(surfaces)
  await app.register(catalogue)
  await app.register(ingress)
  await app.register(authentication)
  await app.register(securityHeaders)
  await app.register(notFound)
  await app.register(jsonBody)

  // What can be reached.
  await app.register(probes)
  await app.register(metrics)
  await app.register(join)
  await app.register(toolsRoute)
  await app.register(adminRpc)
  await app.register(events)
  await app.register(openapi)
  await app.register(controlUi)
  await app.register(gateway)

  // Whom others on the network find, once it listens.
  await app.register(discovery)
  return app
}

async function openTls({ gateway }: Config, log: FastifyBaseLogger | undefined): Promise<TlsMaterial | undefined> {
  if (!gateway.tls.enabled) return undefined
  const { TlsMaterial } = await import('./tls/material.ts')
  return TlsMaterial.open(gateway.tls, log)
}
