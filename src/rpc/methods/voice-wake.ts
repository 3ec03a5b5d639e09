import { Type } from 'typebox'
import { type VoiceWake, WAKE_ROUTING } from '../../nodes/voice-wake.ts'
import { invalidRequest } from '../../protocol/errors.ts'
import { defineMethod, type Method } from '../method.ts'

const anything = Type.Unknown()

/** The words that wake an assistant: one list for every machine that listens. */
export function voiceWakeMethods({ voiceWake }: { voiceWake: VoiceWake }): Method[] {
  return [
    defineMethod({
      name: 'voicewake.get',
      scope: 'operator.read',
      params: anything,
      handler: async () => ({ triggers: await voiceWake.words() })
    }),
    defineMethod({
      name: 'voicewake.set',
      scope: 'operator.write',
      params: anything,
      async handler(params) {
        const given = (params as { triggers?: unknown } | null)?.triggers
        if (!Array.isArray(given)) throw invalidRequest('voicewake.set requires triggers: string[]')
        return { triggers: await voiceWake.set(given) }
      }
    }),
    defineMethod({
      name: 'voicewake.routing.get',
      scope: 'operator.read',
      params: anything,
      handler: () => ({ config: WAKE_ROUTING })
    })
  ]
}
