import { Type } from 'typebox'
import type { Env } from '../../config/paths.ts'
import { defineCommand } from '../command.ts'
import { findProgram } from '../programs.ts'

/** `system.which`: where this node finds programs, by their bare names; those it does not find are left out. */
export function systemWhich(env: Env) {
  return defineCommand({
    name: 'system.which',
    cap: 'system',
    params: Type.Object({ bins: Type.Array(Type.String({ maxLength: 255 }), { minItems: 1, maxItems: 256 }) }),
    run: async ({ bins }) => {
      const found = bins.map((name) => [name, findProgram(name, env.PATH)] as const)
      return { bins: Object.fromEntries(found.filter(([, path]) => path !== undefined)) }
    }
  })
}
