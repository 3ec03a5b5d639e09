import { defineConfig } from 'vite'

// A production install would grow by all of these, for the one start in a gateway's life that makes a certificate.
const certificates = [/^@peculiar\//, 'asn1js', 'pvtsutils', 'pvutils', 'reflect-metadata', 'tslib', 'tsyringe']

// The same goes for the QR codes that a phone is shown once.
const bundled = ['typebox', 'qr', ...certificates]

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
  ssr: { noExternal: bundled }
})
