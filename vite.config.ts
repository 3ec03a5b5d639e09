import { defineConfig, type Plugin } from 'vite'

// A production install would grow by all of these, for the one start in a gateway's life that makes a certificate.
const certificates = [/^@peculiar\//, 'asn1js', 'pvtsutils', 'pvutils', 'reflect-metadata', 'tslib', 'tsyringe']

// So it would by these, for whoever asks for `/openapi.json`, and by `qr`, for the code that a phone is shown once.
const description = ['@fastify/swagger', 'json-schema-resolver', 'rfdc', 'yaml', 'debug', 'ms', 'fast-uri']

// What service discovery reads and writes, on whichever network it is wanted.
const discovery = ['dns-packet', '@leichtgewicht/ip-codec']

// The MCP client, for nodes that have MCP servers. Its packages with all they depend on would be 20 MB.
const mcp = [
  /^@modelcontextprotocol\//,
  /^(zod|cross-spawn|path-key|shebang-command|shebang-regex|which|isexe)(\/|$)/,
  /^(content-type|eventsource|eventsource-parser|pkce-challenge)(\/|$)/
]

// The questions of a first run, which few processes ask.
const prompts = [/^@clack\//, 'sisteransi', 'fast-string-width', 'fast-string-truncated-width', 'fast-wrap-ansi']

// The client is given its own validator, and takes Ajv along all the same: a third of its size.
const withoutAjv: Plugin = {
  name: 'mcp-without-ajv',
  enforce: 'pre',
  resolveId: (id) => (id.endsWith('/validation/ajv-provider.js') ? '\0no-ajv' : undefined),
  load: (id) => (id === '\0no-ajv' ? 'export class AjvJsonSchemaValidator {}' : undefined)
}

// What users run. TypeBox is bundled: read file by file it costs more than the rest of the start together.
export default defineConfig({
  plugins: [withoutAjv],
  build: {
    ssr: true,
    target: 'node24',
    outDir: 'dist',
    minify: false,
    copyPublicDir: false,
    rollupOptions: {
      input: {
        'cli/main': 'src/cli/main.ts',
        index: 'src/index.ts',
        'client/index': 'src/client/index.ts',
        'client/browser': 'src/client/browser.ts'
      },
      output: { entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' }
    }
  },
  ssr: { noExternal: ['typebox', 'qr', ...certificates, ...description, ...discovery, ...prompts, ...mcp] }
})
