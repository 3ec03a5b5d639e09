import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, gzip, constants as zlib } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

const assets = path.resolve(import.meta.dirname, '../public/assets')

export default defineConfig({
  root: import.meta.dirname,
  // Relative, because the gateway may serve the UI below any base path.
  base: './',
  publicDir: false,
  build: {
    outDir: assets,
    emptyOutDir: true,
    assetsDir: '',
    manifest: true,
    modulePreload: { polyfill: false },
    target: 'es2022',
    rolldownOptions: { input: path.resolve(import.meta.dirname, 'main.ts') }
  },
  plugins: [precompress()]
})

/** Lays a brotli and a gzip file beside each asset, so that the gateway never compresses at run time. */
function precompress(): Plugin {
  const brotli = promisify(brotliCompress)
  const gz = promisify(gzip)
  return {
    name: 'precompress',
    apply: 'build',
    async closeBundle() {
      const files = (await readdir(assets)).filter((file) => /\.(js|css|svg)$/.test(file))
      await Promise.all(
        files.map(async (file) => {
          const source = path.join(assets, file)
          const bytes = await readFile(source)
          const quality = { params: { [zlib.BROTLI_PARAM_QUALITY]: zlib.BROTLI_MAX_QUALITY } }
          await writeFile(`${source}.br`, await brotli(bytes, quality))
          await writeFile(`${source}.gz`, await gz(bytes, { level: zlib.Z_BEST_COMPRESSION }))
        })
      )
    }
  }
}
