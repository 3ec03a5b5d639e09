import { chmodSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { parseTimeout, type TargetOptions, withGateway } from './gateway-call.ts'
import { CliError, type Io } from './io.ts'
import { printable, printJson, printRows, styleOf } from './output.ts'
import { TIMEOUT_MS } from './owner-call.ts'
import { formatMoment } from './table.ts'

/** What the commands that make setup codes are told. */
export interface SetupOptions extends Pick<TargetOptions, 'token' | 'password' | 'timeout' | 'json'> {
  /** The gateway's address as the code says it, not the gateway to ask. */
  url?: string
  publicUrl?: string
  remote?: boolean
  limited?: boolean
  node?: boolean
  setupCodeOnly?: boolean
  ascii: boolean
  png?: string
}

interface Made {
  setupCode: string
  joinUrl?: string
  gatewayUrl: string
  gatewayUrls?: string[]
  urlSource: string
  access?: string
  accessDowngraded?: boolean
  expiresAtMs?: number
}

const MEANS: Record<string, string> = {
  full: 'full: a node, and an operator with admin, read, write, approvals and questions',
  limited: 'limited: a node, and an operator with read, write, approvals and questions',
  node: 'a node, and no operator'
}

/** Adds what `openclaw qr` and `openclaw devices setup-code` may be told. */
export function addSetupOptions(command: Command): Command {
  return command
    .option('--url <url>', "The gateway's address, as the code shall say it")
    .option('--public-url <url>', 'The same')
    .option('--remote', 'Prefer gateway.remote.url as the address')
    .option('--limited', 'An operator without admin')
    .option('--node', 'A node, and no operator')
    .option('--setup-code-only', 'Print the code and nothing else')
    .option('--no-ascii', 'No QR code in the terminal')
    .option('--png <file>', 'Write the QR code to an image, readable by you alone')
    .option('--token <token>', 'Gateway token')
    .option('--password <password>', 'Gateway password')
    .option('--timeout <ms>', 'How long to wait, in milliseconds', String(TIMEOUT_MS))
    .option('--json', 'Print JSON')
    .addHelpText(
      'after',
      `
The code works once, for ten minutes, for the first device that presents it, and holds no
durable secret. Whoever scans it needs no token: treat it like a password until it is used.

Examples:
  openclaw qr
  openclaw qr --limited --url wss://gateway.example.com
  openclaw qr --node --setup-code-only`
    )
}

/** Makes a one-time code for a phone or a node, and shows it. */
export async function setupCode(io: Io, options: SetupOptions): Promise<void> {
  const { url, publicUrl = url, remote, limited, node, token, password, timeout, png } = options
  if (limited === true && node === true) {
    throw new CliError('USAGE', '--limited and --node exclude each other', { fix: 'openclaw qr --help' })
  }
  const target = { ...(token && { token }), ...(password && { password }), ...(timeout && { timeout }) }
  const made = await mint(io, target, {
    includeQr: false,
    ...(publicUrl === undefined ? {} : { publicUrl }),
    ...(remote === true ? { preferRemoteUrl: true } : {}),
    ...(limited === true ? { bootstrapProfile: 'limited' } : node === true ? { bootstrapProfile: 'node' } : {})
  })
  if (png !== undefined) await writePng(png, made.setupCode)
  if (options.json === true) return printJson(io, made)
  if (options.setupCodeOnly === true) return io.stdout(printable(made.setupCode))
  if (options.ascii) await show(io, made.setupCode)
  const style = styleOf(io)
  io.stdout(
    `${style.bold('Scan this with the OpenClaw app')}, or give it the code:\n\n  ${printable(made.setupCode)}\n`
  )
  printRows(io, [
    ['Gateway', `${(made.gatewayUrls ?? [made.gatewayUrl]).join(', ')} (from ${made.urlSource})`],
    ['Makes it', MEANS[made.access ?? ''] ?? made.access],
    ['Works', `once, until ${made.expiresAtMs === undefined ? 'it expires' : formatMoment(made.expiresAtMs)}`],
    ['Image', png]
  ])
  if (made.accessDowngraded === true) {
    io.stdout(
      style.yellow('The address is plaintext ws://, so the code is for limited control; use TLS or Tailscale Serve.')
    )
  }
}

/** Makes a link under which one node fetches its setup code, once. */
export async function joinCode(io: Io, options: TargetOptions): Promise<void> {
  const made = await mint(io, options, { includeQr: false, bootstrapProfile: 'node', joinUrl: true })
  if (options.json === true) return printJson(io, made)
  io.stdout(`Run this on the machine that shall join (once, within ten minutes):\n`)
  io.stdout(`  openclaw node run --pair ${printable(made.joinUrl ?? '')}`)
}

function mint(io: Io, options: TargetOptions, params: Record<string, unknown>): Promise<Made> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  return withGateway(io, options, { scopes: ['operator.admin'], timeoutMs }, ({ client }) =>
    client.request<Made>('device.pair.setupCode', params, { timeoutMs })
  )
}

async function show(io: Io, text: string): Promise<void> {
  const { qrText } = await import('../devices/qr.ts')
  const lines = (await qrText(text)).split('\n')
  // White on black, whatever the terminal's own colours are.
  io.stdout(lines.map((line) => (io.color ? `\u001b[97;40m${line}\u001b[0m` : line)).join('\n'))
}

async function writePng(file: string, text: string): Promise<void> {
  const { qrPng } = await import('../devices/qr.ts')
  const png = await qrPng(text)
  try {
    writeFileSync(file, png, { mode: 0o600 })
    chmodSync(file, 0o600)
  } catch (error) {
    throw new CliError('FILE_NOT_WRITTEN', `cannot write ${file}: ${(error as Error).message}`, {
      fix: 'openclaw qr --png FILE, in a folder that you may write to',
      cause: error
    })
  }
}
