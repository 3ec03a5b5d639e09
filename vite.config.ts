import { defineConfig } from 'vite'

// What users run. TypeBox is bundled: read file by file it costs more than the rest of the start together.
export default defineConfig({
  build: {
    ssr: true,
    target: 'node24',
    outDir: 'dist',
    minify: false,
    copyPublicDir: false,
    rollupOptions: {
      input: { 'cli/main': 'src/cli/main.ts', index: 'src/index.ts', 'client/index': 'src/client/index.ts' },
      output: { entryFileNames: '[name].js', chunkFileNames: 'chunks/[name]-[hash].js' }
    }
  },
  ssr: { noExternal: ['typebox'] }
})
