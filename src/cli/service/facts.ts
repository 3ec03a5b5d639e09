import { gatewayUnits } from '../doctor/service.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { gatewayService, REINSTALL } from './gateway.ts'
import { type ServiceManager, type ServiceStatus, serviceManager } from './service.ts'
import { serviceRows, shown } from './words.ts'

/** What a report says of a service. */
export interface ServiceFacts {
  /** What the system calls it. */
  name: string
  /** For JSON. */
  facts: Record<string, unknown>
  /** For a person. */
  rows: [label: string, value: string | undefined][]
}

/** Looks at the service of this profile's gateway; undefined on a system whose services are not supported. */
export async function gatewayServiceFacts(io: Io, system?: string): Promise<ServiceFacts | undefined> {
  const service = await gatewayService(io, system).catch(unsupported)
  if (service === undefined) return undefined
  const { manager, status, command, port, drift } = service
  const facts = {
    ...shown(manager, status),
    ...(command === undefined ? {} : { command: { programArguments: command.argv, sourcePath: status.path } }),
    ...(port === undefined ? {} : { port }),
    drift
  }
  const words = drift.map(({ message }) => message).join('; ')
  const rows = [...rowsOf(manager, status), ['Service drift', words === '' ? undefined : `${words}; ${REINSTALL}`]]
  return { name: status.name, facts, rows: rows as ServiceFacts['rows'] }
}

/** The same of this profile's node host. */
export async function nodeServiceFacts(io: Io): Promise<ServiceFacts | undefined> {
  const manager = await serviceManager(io.env, 'openclaw node run').catch(unsupported)
  if (manager === undefined) return undefined
  const status = await manager.status({ kind: 'node', profile: placesOf(io).paths.profile })
  return { name: status.name, facts: shown(manager, status), rows: rowsOf(manager, status) }
}

/** Other services of this machine that look like a gateway's, and may be in the way of the own one. */
export async function otherServices(io: Io, own: string | undefined) {
  const { user, whole } = await gatewayUnits({ env: io.env, deep: true })
  const others = user.filter((name) => name !== own).map((name) => ({ name, scope: 'user' }))
  return [...others, ...whole.map((name) => ({ name, scope: 'system' }))]
}

function unsupported(error: unknown): undefined {
  if (error instanceof CliError && error.code === 'SERVICE_UNSUPPORTED') return undefined
  throw error
}

function rowsOf(manager: Pick<ServiceManager, 'label'>, status: ServiceStatus): ServiceFacts['rows'] {
  return serviceRows(manager, status, undefined).map(([label, value]) => [
    label.replace(/^./, (first) => first.toUpperCase()),
    value
  ])
}
