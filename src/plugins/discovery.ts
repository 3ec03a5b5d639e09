import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Advertiser, AdvertiserState } from '../discovery/advertiser.ts'

/** Announces the gateway on the networks that it listens on, while the configuration asks for it; off by default (S15). */
async function discovery(app: FastifyInstance): Promise<void> {
  const { live, log } = app
  let advertiser: Advertiser | undefined
  let listening: readonly string[] = []
  let turn: Promise<unknown> = Promise.resolve()
  app.decorate('advertised', () => advertiser?.state())

  const isWanted = () => listening.length > 0 && live.config.discovery.mdns.mode !== 'off'
  const settle = async (): Promise<void> => {
    if (isWanted() === (advertiser !== undefined)) return
    if (advertiser !== undefined) {
      const gone = advertiser
      advertiser = undefined
      return gone.stop()
    }
    const { Advertiser } = await import('../discovery/advertiser.ts')
    const { port, tls } = live.config.gateway
    advertiser = new Advertiser({
      port,
      tls: tls.enabled,
      listening,
      log,
      named: (host) => live.learnLocalName(host)
    })
    advertiser.start()
  }
  // One after the other, so that what is taken back has been said.
  const later = () => {
    turn = turn.then(settle).catch((err) => log.error({ err }, 'discovery failed'))
    return turn
  }

  app.addHook('onListen', async () => {
    listening = app.addresses().map((each) => (typeof each === 'string' ? each : each.address))
    await later()
  })
  live.onChange(() => void later())
  app.addHook('preClose', async () => {
    listening = []
    await later()
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** What is announced, network by network; undefined while nothing is to be. */
    advertised(): AdvertiserState | undefined
  }
}

export default fp(discovery, { name: 'discovery', dependencies: ['state'], fastify: '5.x' })
