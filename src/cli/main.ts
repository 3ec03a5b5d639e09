#!/usr/bin/env -S node --max-semi-space-size=16 --single-threaded-gc --expose-gc
// The flags above: a burst of connections must not leave V8 with 100 MB of young space that it never gives back, and its
// threads must not contend with the gateway's own for a core: that is what the slowest of a thousand calls waited for.
import module from 'node:module'

// Before any other import, so that all of them come out of the cache. Absent on the Node versions refused below.
module.enableCompileCache?.()

const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  console.error(`error: openclaw needs Node.js 24 or newer; this is ${process.version} (${process.execPath})`)
  console.error('fix: install Node.js 24 from https://nodejs.org, or put it first on PATH')
  process.exitCode = 1
} else {
  const { run } = await import('./run.ts')
  await run(process.argv.slice(2))
}
