import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Type } from 'typebox'
import { PUBLIC_DIR } from '../package.ts'

const ASSETS = join(PUBLIC_DIR, 'assets')
/** Prefixes that belong to APIs: an unknown path below them is a 404 for everyone, never a page. */
const API = /^\/(v1|api|plugins|hooks)(\/|$)/

const ConfigDocument = Type.Object({
  basePath: Type.String(),
  assistantName: Type.String(),
  assistantAvatar: Type.String(),
  assistantAvatarSource: Type.Null(),
  assistantAvatarStatus: Type.Null(),
  assistantAvatarReason: Type.Null(),
  assistantAgentId: Type.String(),
  serverVersion: Type.String(),
  serverBuildId: Type.String(),
  embedSandbox: Type.String(),
  allowExternalEmbedUrls: Type.Boolean(),
  automaticallyFetchFavicons: Type.Boolean(),
  communityInvite: Type.Boolean(),
  terminalEnabled: Type.Boolean(),
  cliAgentsEnabled: Type.Boolean(),
  pluginAssetsRequireAuth: Type.Boolean(),
  pluginFrameGrants: Type.Array(Type.Unknown())
})

/** Serves the Control UI: the page for every path of its own, its assets, and what it may know once signed in. */
async function controlUi(app: FastifyInstance): Promise<void> {
  const { auth, controlUi } = app.config.gateway
  if (!controlUi.enabled) return
  const { basePath } = controlUi
  const html = await renderPage(basePath, app)
  await app.register(fastifyStatic, { serve: false, root: PUBLIC_DIR, preCompressed: true, dotfiles: 'ignore' })

  app.get<{ Params: { '*': string } }>(`${basePath}/assets/*`, { config: { surface: 'static' } }, (request, reply) =>
    // The name holds a hash of the content: what it names never changes.
    reply.sendFile(request.params['*'], ASSETS, { maxAge: '1y', immutable: true })
  )
  for (const file of await handmade()) {
    app.get(`${basePath}/${file}`, { config: { surface: 'static' } }, (_request, reply) =>
      reply.sendFile(file, { maxAge: '1h' })
    )
  }

  const document = {
    basePath,
    assistantName: 'Assistant',
    assistantAvatar: 'A',
    assistantAvatarSource: null,
    assistantAvatarStatus: null,
    assistantAvatarReason: null,
    assistantAgentId: 'main',
    serverVersion: app.serverInfo.version,
    serverBuildId: app.serverInfo.buildId,
    embedSandbox: 'scripts',
    allowExternalEmbedUrls: false,
    automaticallyFetchFavicons: false,
    communityInvite: false,
    terminalEnabled: false,
    cliAgentsEnabled: false,
    pluginAssetsRequireAuth: auth.mode !== 'none',
    pluginFrameGrants: []
  }
  for (const url of ['/control-ui-config.json', '/__openclaw/control-ui-config.json']) {
    app.get(
      basePath + url,
      {
        config: { surface: 'control-ui' },
        schema: { summary: 'What the page knows of this gateway', response: { 200: ConfigDocument } }
      },
      (_request, reply) => reply.header('cache-control', 'no-cache').send(document)
    )
  }

  app.page = (request, reply) => {
    const [path = '', query] = request.url.split('?', 2)
    if (request.method !== 'GET' && request.method !== 'HEAD') return undefined
    if (basePath !== '' && path === basePath) {
      return reply.redirect(query === undefined ? `${basePath}/` : `${basePath}/?${query}`, 302)
    }
    if (!isPage(path, basePath) || !wantsHtml(request)) return undefined
    return sendPage(reply, html)
  }
}

/** Reports whether a path below the base path is one that the page's own router shows. */
function isPage(path: string, basePath: string): boolean {
  if (!path.startsWith(`${basePath}/`)) return false
  const below = path.slice(basePath.length)
  if (below === '/index.html') return true
  return !API.test(below) && !below.slice(below.lastIndexOf('/')).includes('.')
}

function wantsHtml({ headers }: FastifyRequest): boolean {
  const { accept } = headers
  return accept === undefined || /text\/html|text\/\*|\*\/\*/.test(accept)
}

function sendPage(reply: FastifyReply, html: string): FastifyReply {
  return reply
    .code(200)
    .headers({ 'cache-control': 'no-cache', vary: 'accept-encoding' })
    .type('text/html; charset=utf-8')
    .send(html)
}

/** The page, with the names of this build's files in it. */
async function renderPage(basePath: string, app: FastifyInstance): Promise<string> {
  try {
    const [page, manifest] = await Promise.all([
      readFile(join(PUBLIC_DIR, 'index.html'), 'utf8'),
      readFile(join(ASSETS, '.vite/manifest.json'), 'utf8')
    ])
    const { file: script, css = [] } = (JSON.parse(manifest) as Record<string, { file: string; css?: string[] }>)[
      'main.ts'
    ]!
    const values: Record<string, string> = { base: basePath, script, style: css[0] ?? '' }
    return page.replaceAll(/\{\{(\w+)\}\}/g, (_all, name: string) => escapeHtml(values[name] ?? ''))
  } catch (error) {
    app.log.warn({ err: error }, 'control ui is not built: npm run build:ui')
    return '<!doctype html><title>Control</title><p>This page is not built yet. Run <code>npm run build:ui</code>.</p>\n'
  }
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** The files made by hand that lie beside the page. */
async function handmade(): Promise<string[]> {
  const entries = await readdir(PUBLIC_DIR, { withFileTypes: true })
  return entries.filter((entry) => entry.isFile() && entry.name !== 'index.html').map(({ name }) => name)
}

export default fp(controlUi, { name: 'control-ui', dependencies: ['authentication'], fastify: '5.x' })
