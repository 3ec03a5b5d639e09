import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../config/types.ts'
import { Reloader } from '../reload.ts'

/** What the plugin is told. */
export interface ReloadOptions {
  /** Reads the configuration again; without it, edits take effect at the next start. */
  load: (() => Promise<Config>) | undefined
}

/** Applies edits of the configuration while the gateway runs. */
async function reload(app: FastifyInstance, { load }: ReloadOptions): Promise<void> {
  const { live, log, trail, hub, stability } = app
  const reloader = load && new Reloader({ live, load, log, applied, refused, edited })
  app.decorate('reloader', reloader)
  app.addHook('onReady', async () => reloader?.start())
  const watches = () => reloader?.state.mode === 'hybrid'
  app.health.hotReloadStatus = watches() ? 'active' : 'disabled'
  live.onChange(() => {
    app.health.hotReloadStatus = watches() ? 'active' : 'disabled'
  })
  app.addHook('onClose', async () => reloader?.stop())

  function applied(keys: readonly string[]): void {
    log.level = live.config.logLevel
    stability.record('config.reload', { outcome: 'applied' })
    const kind = keys.some((key) => /^gateway\.auth\.(token|password)$/.test(key)) ? 'secret.rotated' : 'access.changed'
    trail.record({ kind, outcome: 'changed', address: 'local', who: 'configuration', detail: keys.join(', ') })
  }

  function refused(): void {
    stability.record('config.reload', { outcome: 'refused' })
  }

  async function edited(): Promise<void> {
    const [{ revisionOf }, { configPath: path }] = [await import('../config/snapshot.ts'), live.config.paths]
    const hash = revisionOf(await readFile(path, 'utf8').catch(() => ''))
    hub.publish('config.changed', { path, hash, ts: Date.now() })
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    reloader: Reloader | undefined
  }
}

export default fp(reload, { name: 'reload', dependencies: ['state'], fastify: '5.x' })
