import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { TlsMaterial } from '../tls/material.ts'

/** What the plugin is told. */
export interface TlsOptions {
  /** What the main listener serves; without it, it speaks plain HTTP. */
  material: TlsMaterial | undefined
}

/** Renews the certificate while the gateway runs. */
async function tls(app: FastifyInstance, { material }: TlsOptions): Promise<void> {
  app.decorate('tls', material)
  if (material === undefined) return
  app.addHook('onReady', async () => material.watch(() => app.live.config.gateway.reload.mode === 'off'))
  app.addHook('onClose', async () => material.stop())
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The certificate of the main listener, when it speaks TLS. */
    tls: TlsMaterial | undefined
  }
}

export default fp(tls, { name: 'tls', dependencies: ['state'], fastify: '5.x' })
