import { CliError, type Io } from '../io.ts'
import { gatewayService, REINSTALL } from './gateway.ts'
import { serviceRows, shown } from './words.ts'

/** What a report says of the gateway's service. */
export interface ServiceFacts {
  /** For JSON. */
  facts: Record<string, unknown>
  /** For a person. */
  rows: [label: string, value: string | undefined][]
}

/** Looks at the service of this profile's gateway; undefined on a system whose services are not supported. */
export async function gatewayServiceFacts(io: Io, system?: string): Promise<ServiceFacts | undefined> {
  const service = await gatewayService(io, system).catch((error) => {
    if (error instanceof CliError && error.code === 'SERVICE_UNSUPPORTED') return undefined
    throw error
  })
  if (service === undefined) return undefined
  const { manager, status, command, port, drift } = service
  const facts = {
    ...shown(manager, status),
    ...(command === undefined ? {} : { command: { programArguments: command.argv, sourcePath: status.path } }),
    ...(port === undefined ? {} : { port }),
    drift
  }
  const words = drift.map(({ message }) => message).join('; ')
  const rows = serviceRows(manager, status, undefined).map(([label, value]): [string, string | undefined] => [
    label.replace(/^./, (first) => first.toUpperCase()),
    value
  ])
  return { facts, rows: [...rows, ['Service drift', words === '' ? undefined : `${words}; ${REINSTALL}`]] }
}
