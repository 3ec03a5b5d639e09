import type { ServiceManager, ServiceStatus } from './service.ts'

/** A service as JSON shows it. */
export function shown({ label }: Pick<ServiceManager, 'label'>, status: ServiceStatus) {
  return { label, loadedText: 'enabled', notLoadedText: 'disabled', ...status }
}

/** Whether a service is there, and whether it runs, as a person reads it. */
export function serviceRows(
  { label }: Pick<ServiceManager, 'label'>,
  { name, path, installed, loaded, runtime }: ServiceStatus,
  install: string | undefined
): [label: string, value: string | undefined][] {
  const { status, pid, detail } = runtime
  const facts = [pid === undefined ? '' : `pid ${pid}`, detail ?? ''].filter((each) => each !== '').join(', ')
  return [
    ['service', `${name} (${label}, ${installed ? (loaded ? 'enabled' : 'disabled') : 'not installed'})`],
    ['file', installed ? path : undefined],
    ['runtime', `${status}${facts === '' ? '' : ` (${facts})`}`],
    ['fix', installed ? undefined : install]
  ]
}
