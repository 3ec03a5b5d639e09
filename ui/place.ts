/** Where the gateway serves this page from, as the page itself was told: `""` or `/some/path`. */
export const basePath: string = document.documentElement.dataset.basePath ?? ''

/** The gateway's WebSocket: always the origin that served this page, never anything a link or a script may name. */
export function socketUrl(): string {
  const { protocol, host } = window.location
  return `${protocol === 'https:' ? 'wss:' : 'ws:'}//${host}${basePath}/`
}

/** The path of the current page below the base path, `/` for the first. */
export function currentPath(): string {
  const { pathname } = window.location
  const below = pathname.startsWith(`${basePath}/`) ? pathname.slice(basePath.length) : '/'
  return below.replace(/(.)\/+$/, '$1')
}

/** The address of a page. */
export function hrefOf(path: string): string {
  return basePath + path
}
