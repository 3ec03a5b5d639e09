// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of configuration files
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { platform } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkGatewayUrl } from '../../src/client/url-policy.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { type Facts, gatherFacts } from '../../src/security/facts.ts'
import type { Finding } from '../../src/security/finding.ts'
import { findingsOf } from '../../src/security/findings.ts'
import { reportOf } from '../../src/security/report.ts'
import { tempDir } from '../support/gateway.ts'

t.jobs = 2

// A random token of the kind that the first start writes, and what must never be printed.
const TOKEN = 'canary-8Qf3vLx0ZpWm2RkT7yBn4GsHd6JcUaEi'
const PASSWORD = 'canary-Zr5uTq8wXk3vNm7bHs2dLf9c'
const token = { mode: 'token', token: TOKEN }
const proxy = { userHeader: 'x-forwarded-user', allowUsers: ['a@example.com'], requiredHeaders: ['x-proxy'] }
const jwt = { issuer: 'https://id.example.com', audience: 'gw', jwks: 'https://id.example.com/jwks', header: 'x-jwt' }
const byProxy = (more: object) => ({
  auth: { mode: 'trusted-proxy', trustedProxy: { ...proxy, ...more } },
  trustedProxies: ['10.0.0.5'],
  publicOrigin: 'https://gw.example.com'
})
const HOME_NET = ['192.168.1.20', 'fe80::1']

interface Row {
  name: string
  /** The `gateway` section beside mode and auth. */
  gateway?: Record<string, unknown>
  /** Other sections. */
  file?: Record<string, unknown>
  /** The whole text, instead of both. */
  text?: string
  env?: Record<string, string>
  facts?: Partial<Facts>
  /** Everything that is found: `checkId severity`. */
  want: string[]
  /** Commands that are not run here, because they reach beyond the state folder. */
  notRun?: true
}

const rows: Row[] = [
  { name: 'a configuration of the first start is clean', want: [] },
  { name: 'no configuration at all is clean', text: '', want: [] },

  // auth
  {
    name: 'no auth beyond loopback',
    gateway: { bind: 'lan', auth: { mode: 'none' } },
    want: ['gateway.bind_no_auth critical', 'gateway.bind_plaintext warn', 'gateway.nodes.auto_approve_local info']
  },
  {
    name: 'token auth without a token, beyond loopback',
    gateway: { bind: 'lan', auth: { mode: 'token' } },
    want: ['gateway.bind_no_auth critical', 'gateway.bind_plaintext warn']
  },
  {
    name: 'password auth without a password, beyond loopback',
    gateway: { bind: 'lan', auth: { mode: 'password' } },
    want: ['gateway.bind_no_auth critical', 'gateway.bind_plaintext warn']
  },
  {
    name: 'no auth, exposed through Tailscale',
    gateway: { auth: { mode: 'none' }, tailscale: { mode: 'serve' } },
    want: ['gateway.bind_no_auth critical', 'gateway.tailscale_serve info', 'gateway.nodes.auto_approve_local info']
  },
  {
    name: 'no auth on loopback',
    gateway: { auth: { mode: 'none' } },
    want: ['gateway.loopback_no_auth critical', 'gateway.nodes.auto_approve_local info']
  },
  {
    name: 'no auth on loopback, with a token that is not used',
    gateway: { auth: { mode: 'none', token: TOKEN }, nodes: { pairing: { autoApproveLocal: false } } },
    want: ['gateway.loopback_no_auth critical']
  },
  {
    name: 'a short token',
    gateway: { auth: { mode: 'token', token: 'canary-8Qf3vLx0' } },
    want: ['gateway.token_too_short warn']
  },
  {
    name: 'a guessable token that the network can try',
    gateway: { bind: 'tailnet', auth: { mode: 'token', token: 'Password123' } },
    want: ['gateway.token_too_short critical']
  },
  {
    name: 'a long token of few characters',
    gateway: { auth: { mode: 'token', token: 'abababababababababababababab' } },
    want: ['gateway.token_weak warn']
  },
  ...[
    '',
    ' ',
    'undefined',
    'null',
    'your-token',
    'replace-with-a-long-random-token',
    'changeme',
    '<token>',
    'xxxxxxxx'
  ].map(
    (text): Row => ({
      name: `the placeholder ${JSON.stringify(text)}`,
      gateway: { auth: { mode: 'token', token: text } },
      want: ['gateway.token_placeholder_value critical']
    })
  ),
  {
    name: 'a short token in the environment',
    env: { OPENCLAW_GATEWAY_TOKEN: 'canary-short' },
    want: ['gateway.token_too_short warn', 'config.env_override info']
  },
  {
    name: 'a good token in the environment, beside one in the file',
    env: { OPENCLAW_GATEWAY_TOKEN: TOKEN },
    want: ['config.env_override info']
  },
  {
    name: 'a short password in the file',
    gateway: { auth: { mode: 'password', password: 'canary-Zr5uTq8w' } },
    want: ['gateway.password_too_short warn', 'config.secrets.gateway_password_in_config warn']
  },
  {
    name: 'a good password in the file',
    gateway: { auth: { mode: 'password', password: PASSWORD } },
    want: ['config.secrets.gateway_password_in_config warn']
  },
  {
    name: 'a good password in the environment',
    gateway: { auth: { mode: 'password' } },
    env: { OPENCLAW_GATEWAY_PASSWORD: PASSWORD },
    want: []
  },
  {
    name: 'a placeholder for a password',
    gateway: { auth: { mode: 'password', password: 'undefined' } },
    want: ['gateway.password_placeholder_value critical', 'config.secrets.gateway_password_in_config warn']
  },
  {
    name: 'a reference to a good token',
    gateway: { auth: { mode: 'token', token: { source: 'env', provider: 'default', id: 'MY_TOKEN' } } },
    env: { MY_TOKEN: TOKEN },
    want: []
  },
  {
    name: 'a reference to a short token',
    gateway: { auth: { mode: 'token', token: '$MY_TOKEN' } },
    env: { MY_TOKEN: 'canary-short' },
    want: ['gateway.token_too_short warn']
  },
  {
    name: 'a reference that does not resolve',
    gateway: { auth: { mode: 'token', token: { source: 'env', provider: 'default', id: 'NOT_SET' } } },
    want: ['gateway.secret_unresolved warn']
  },
  {
    name: 'secrets of other sections, as text',
    file: { channels: { telegram: { botToken: 'canary-bot' } }, models: { providers: [{ apiKey: '${API_KEY}' }] } },
    want: ['config.secrets.plaintext info']
  },

  // rate limit
  {
    name: 'as good as no limit on failed sign-ins',
    gateway: { auth: { ...token, rateLimit: { maxAttempts: 100_000 } } },
    want: ['gateway.auth_no_rate_limit info']
  },
  {
    name: 'no lockout, and the network can try',
    gateway: { bind: 'tailnet', auth: { ...token, rateLimit: { lockoutMs: 0 } } },
    want: ['gateway.auth_no_rate_limit warn']
  },
  {
    name: 'a tiny window',
    gateway: { auth: { ...token, rateLimit: { windowMs: 2_000 } } },
    want: ['gateway.auth_rate_limit_loose info']
  },
  {
    name: 'many attempts, and the network can try',
    gateway: { bind: 'tailnet', auth: { ...token, rateLimit: { maxAttempts: 100 } } },
    want: ['gateway.auth_rate_limit_loose warn']
  },
  {
    name: 'loopback may be counted too',
    gateway: { auth: { ...token, rateLimit: { exemptLoopback: false } } },
    want: []
  },

  // exposure
  { name: 'bind tailnet is encrypted by the tailnet', gateway: { bind: 'tailnet' }, want: [] },
  { name: 'bind lan on a private network', gateway: { bind: 'lan' }, want: ['gateway.bind_plaintext warn'] },
  {
    name: 'bind lan on a public address',
    gateway: { bind: 'lan' },
    facts: { addresses: ['8.8.4.4'] },
    want: ['gateway.bind_plaintext critical']
  },
  {
    name: 'bind lan is IPv4: a public IPv6 address is not bound',
    gateway: { bind: 'lan' },
    facts: { addresses: ['192.168.1.20', '2001:4860::1'] },
    want: ['gateway.bind_plaintext warn']
  },
  {
    name: 'bind to a public address',
    gateway: { bind: 'custom', customBindHost: '8.8.4.4' },
    want: ['gateway.bind_plaintext critical']
  },
  { name: 'bind to a loopback address', gateway: { bind: 'custom', customBindHost: '127.0.0.2' }, want: [] },
  { name: 'bind to a tailnet address', gateway: { bind: 'custom', customBindHost: '100.64.0.9' }, want: [] },
  {
    name: 'a wildcard among the allowed origins',
    gateway: { controlUi: { allowedOrigins: ['*', 'https://a.example.com'] } },
    want: ['gateway.control_ui.allowed_origins_wildcard warn']
  },
  {
    name: 'an http origin',
    gateway: { controlUi: { allowedOrigins: ['http://a.example.com', 'http://localhost:3000'] } },
    want: ['gateway.control_ui.allowed_origins_plaintext warn']
  },
  {
    name: 'an origin that is none',
    gateway: { controlUi: { allowedOrigins: ['a.example.com'] } },
    want: ['gateway.control_ui.allowed_origins_ineffective info']
  },
  {
    name: 'a proxy, and no public origin',
    gateway: { trustedProxies: ['10.0.0.5'] },
    want: ['gateway.public_origin_missing info']
  },
  {
    name: 'a proxy and a public origin',
    gateway: { trustedProxies: ['10.0.0.5'], publicOrigin: 'https://gw.example.com' },
    want: []
  },

  // proxies
  {
    name: 'a proxy of this host',
    gateway: { trustedProxies: ['127.0.0.1'], publicOrigin: 'https://gw.example.com' },
    want: ['gateway.trusted_proxies_loopback info']
  },
  {
    name: 'whole networks of proxies',
    gateway: { trustedProxies: ['10.0.0.0/8', '192.168.0.0/16'], publicOrigin: 'https://gw.example.com' },
    want: ['gateway.trusted_proxies_wide warn']
  },
  {
    name: 'half of the internet may name users',
    gateway: { ...byProxy({}), trustedProxies: ['0.0.0.0/1'] },
    want: ['gateway.trusted_proxies_wide critical', 'gateway.trusted_proxy_auth warn']
  },
  {
    name: 'X-Real-IP without a proxy',
    gateway: { allowRealIpFallback: true },
    want: ['gateway.real_ip_fallback_enabled warn']
  },
  {
    name: 'X-Real-IP of a proxy',
    gateway: { allowRealIpFallback: true, trustedProxies: ['10.0.0.5'], publicOrigin: 'https://gw.example.com' },
    want: ['gateway.real_ip_fallback_enabled critical']
  },
  {
    name: 'a proxy that proves nothing',
    gateway: byProxy({ requiredHeaders: [] }),
    want: ['gateway.trusted_proxy_auth critical']
  },
  { name: 'a proxy with required headers', gateway: byProxy({}), want: ['gateway.trusted_proxy_auth warn'] },
  { name: 'a proxy that signs', gateway: byProxy({ jwt }), want: ['gateway.trusted_proxy_auth info'] },
  {
    name: 'a proxy with a socket of its own',
    gateway: byProxy({ socket: '/run/openclaw/proxy.sock' }),
    want: ['gateway.trusted_proxy_auth info']
  },
  {
    name: "a proxy's socket that everybody can open",
    gateway: byProxy({ socket: '/run/openclaw/proxy.sock', socketMode: '0666' }),
    want: ['gateway.trusted_proxy_auth info', 'gateway.trusted_proxy_socket_open critical']
  },
  {
    name: 'a proxy whose every user gets in',
    gateway: byProxy({ allowUsers: [] }),
    want: ['gateway.trusted_proxy_auth warn', 'gateway.trusted_proxy_no_allowlist warn']
  },
  {
    name: 'S4: a proxy on loopback without proof',
    gateway: { ...byProxy({ allowLoopback: true }), trustedProxies: ['127.0.0.1'] },
    want: ['gateway.trusted_proxy_auth warn', 'gateway.trusted_proxy_allow_loopback warn']
  },
  {
    name: 'a loopback proxy that is not allowed to be one',
    gateway: { ...byProxy({}), trustedProxies: ['::1'] },
    want: ['gateway.trusted_proxies_loopback warn', 'gateway.trusted_proxy_auth warn']
  },
  {
    name: 'no proxy is named',
    gateway: { ...byProxy({}), trustedProxies: [] },
    want: ['gateway.trusted_proxy_no_proxies critical', 'gateway.trusted_proxy_auth warn']
  },
  {
    name: 'no header is named',
    gateway: { auth: { mode: 'trusted-proxy' }, trustedProxies: ['10.0.0.5'], publicOrigin: 'https://gw.example.com' },
    want: ['gateway.trusted_proxy_no_user_header critical']
  },
  {
    name: 'devices of proxy users become administrators',
    gateway: byProxy({ jwt, deviceAutoApprove: { enabled: true, scopes: ['operator.admin'] } }),
    want: ['gateway.trusted_proxy_auth info', 'gateway.trusted_proxy_auto_approve_admin critical']
  },
  {
    name: 'devices of proxy users are approved with the default scopes',
    gateway: byProxy({ jwt, deviceAutoApprove: { enabled: true } }),
    want: ['gateway.trusted_proxy_auth info']
  },

  // identities
  {
    name: 'an identity that is an administrator',
    gateway: { auth: { ...token, identityScopes: { 'a@example.com': ['operator.admin'], b: ['operator.read'] } } },
    want: ['gateway.identity_scopes_admin info']
  },
  ...['*', '*@example.com', '@example.com', 'a b@example.com', 'everyone', '', 'a@b@c'].map(
    (identity): Row => ({
      name: `the identity ${JSON.stringify(identity)}`,
      gateway: { auth: { ...token, identityScopes: { [identity]: ['operator.read'], 'a@example.com': [] } } },
      want: ['gateway.identity_scopes_key warn']
    })
  ),

  // Tailscale
  {
    name: 'funnel',
    gateway: { auth: { mode: 'password' }, tailscale: { mode: 'funnel' } },
    env: { OPENCLAW_GATEWAY_PASSWORD: PASSWORD },
    want: ['gateway.tailscale_funnel critical']
  },
  { name: 'serve', gateway: { tailscale: { mode: 'serve' } }, want: ['gateway.tailscale_serve info'] },
  {
    name: 'identity headers of a Serve run by hand, where the sender can be told',
    gateway: { auth: { ...token, allowTailscale: true } },
    facts: { platform: 'linux' },
    want: ['gateway.tailscale_operator_serve info']
  },
  {
    name: 'identity headers of a Serve run by hand, where it cannot',
    gateway: { auth: { ...token, allowTailscale: true } },
    facts: { platform: 'darwin' },
    want: ['gateway.tailscale_operator_serve warn']
  },

  // nodes
  {
    name: 'local pairing, written out',
    gateway: { nodes: { pairing: { autoApproveLocal: true } } },
    want: ['gateway.nodes.auto_approve_local info']
  },
  {
    name: 'nodes of wide networks pair by themselves',
    gateway: { nodes: { pairing: { autoApproveCidrs: ['10.0.0.0/8', '192.168.1.0/24', 'fd00::/8'] } } },
    want: ['gateway.nodes.auto_approve_cidrs_wide warn']
  },
  {
    name: 'dangerous commands of nodes',
    gateway: { nodes: { commands: { allow: ['camera.snap', 'device.info'] } } },
    want: ['gateway.nodes.allow_commands_dangerous warn']
  },
  {
    name: 'dangerous commands of nodes, and the network reaches the gateway',
    gateway: { bind: 'tailnet', nodes: { commands: { allow: ['sms.send', 'screen.record'] } } },
    want: ['gateway.nodes.allow_commands_dangerous critical']
  },
  {
    name: 'patterns of denied commands',
    gateway: { nodes: { commands: { deny: ['system.*', 'camera.snap', 'rm -rf'] } } },
    want: ['gateway.nodes.deny_commands_ineffective warn']
  },

  // the file
  { name: 'no reload', gateway: { reload: { mode: 'off' } }, want: ['gateway.reload_off info'] },
  {
    name: 'dangerous switches, one finding each',
    gateway: { controlUi: { dangerouslyAllowHostHeaderOriginFallback: true, dangerouslyDisableDeviceAuth: false } },
    file: {
      agents: { entries: { 'a.b': { sandbox: { docker: { dangerouslyAllowExternalBindSources: true } } } } },
      hooks: { mappings: [{ allowUnsafeExternalContent: true }] },
      tools: { exec: { applyPatch: { workspaceOnly: false } } }
    },
    want: Array(4).fill('config.insecure_or_dangerous_flags warn')
  },
  {
    name: 'an unparsable file',
    text: '{ gateway: {\n  mode: "local",,\n} }',
    want: ['config.invalid critical'],
    notRun: true
  },
  {
    name: 'an invalid value, and the rest is checked',
    gateway: { reload: { mode: 'hot' }, bind: 'lan' },
    want: ['gateway.bind_plaintext warn', 'config.invalid critical']
  },

  // remote
  {
    name: 'a remote gateway in public, unencrypted',
    text: `{ gateway: { mode: 'remote', remote: { url: 'ws://gw.example.com:18789', token: { source: 'env', provider: 'default', id: 'T' } } } }`,
    want: ['gateway.remote.plaintext critical']
  },
  {
    name: 'a remote gateway on the own network',
    text: `{ gateway: { mode: 'remote', bind: 'lan', remote: { url: 'ws://192.168.1.5:18789', token: 'canary-remote' } } }`,
    want: ['config.secrets.plaintext info']
  },
  {
    name: 'a password in the remote URL',
    text: `{ gateway: { mode: 'remote', remote: { url: 'wss://me:canary-pw@gw.example.com' } } }`,
    want: ['gateway.remote.url_invalid warn']
  },
  {
    name: 'what a client says of a server is without effect',
    text: `{ gateway: { mode: 'remote', bind: 'lan', auth: { mode: 'none' }, remote: { url: 'wss://gw.example.com' } } }`,
    want: []
  }
]

interface State {
  env: Record<string, string>
  file: string
  look(): Promise<Finding[]>
}

function state(t: Test, { gateway, file, text, env: more = {}, facts = {} }: Row): State {
  const home = tempDir(t)
  const stateDir = join(home, '.openclaw')
  mkdirSync(stateDir, { mode: 0o700 })
  const path = join(stateDir, 'openclaw.json')
  const section = { mode: 'local', auth: token, ...gateway }
  const written = text ?? JSON.stringify({ gateway: section, ...file })
  if (written !== '') writeFileSync(path, written, { mode: 0o600 })
  const env = { HOME: home, ...more }
  const look = async () => {
    const found = await gatherFacts({ env, paths: resolvePaths(env), checkUrl: checkGatewayUrl })
    return findingsOf({ ...found, addresses: HOME_NET, ...facts }, Date.now())
  }
  return { env, file: path, look }
}

const brief = (findings: readonly Finding[]) => findings.map(({ checkId, severity }) => `${checkId} ${severity}`)

// The command under its own name, as the fixes write it.
const bin = tempDir(t)
const main = join(import.meta.dirname, '../../src/cli/main.ts')
writeFileSync(join(bin, 'openclaw'), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 })

for (const row of rows) {
  t.test(row.name, async (t) => {
    const { env, look } = state(t, row)
    const findings = await look()
    t.same(brief(findings).sort(), row.want.toSorted())
    t.notMatch(JSON.stringify(findings), /canary/, 'no secret is told')
    for (const { title, detail, remediation } of findings) {
      t.ok(title.length > 10 && title.length < 90 && !title.endsWith('.'), title)
      t.match(detail, /\.$|file|:\d/, 'a sentence that says why')
      t.match(remediation, /[.\])'/\w]$/)
    }
    for (const finding of findings) await tryFix(t, finding, env, look, row.notRun === true)
  })
}

/** Runs the command of a finding, and looks whether the finding is gone. */
async function tryFix(
  t: Test,
  { checkId, fix, detail }: Finding,
  env: Record<string, string>,
  look: State['look'],
  notRun: boolean
): Promise<void> {
  if (fix === undefined) return
  const shell = { env: { ...env, PATH: `${bin}:${process.env.PATH}` }, encoding: 'utf8' } as const
  t.equal(spawnSync('sh', ['-n', '-c', fix.command], shell).status, 0, `${fix.command} parses`)
  t.match(fix.command, /^(openclaw (config (set|unset|patch)|doctor) |chmod |sudo chown )/, 'a command that we know')
  if (!fix.command.startsWith('openclaw ') || notRun) return
  const { status, stdout, stderr } = spawnSync('sh', ['-c', fix.command], shell)
  t.notMatch(stdout + stderr, /canary/)
  // `doctor` goes on to say what else is wrong.
  if (!fix.command.startsWith('openclaw doctor --fix')) t.equal(status, 0, `${fix.command}: ${stderr}`)
  const left = await look()
  t.notOk(
    left.some((finding) => finding.checkId === checkId && finding.detail === detail),
    `${fix.command} removes ${checkId}`
  )
}

t.test('suppressions move findings aside, and that they do is a finding', async (t) => {
  const suppressions = [
    { checkId: 'gateway.bind_plaintext', detailIncludes: 'GATEWAY.BIND is "LAN"', reason: 'my own cable' },
    { checkId: 'config.insecure_or_dangerous_flags', detailIncludes: 'docker' },
    { checkId: 'gateway.reload_off', titleIncludes: 'no such words' },
    { checkId: 'security.audit.suppressions.active' },
    { reason: 'without a check' }
  ]
  const { look, file } = state(t, {
    name: '',
    gateway: { bind: 'lan', reload: { mode: 'off' } },
    file: {
      security: { audit: { suppressions } },
      agents: { docker: { dangerouslyX: true }, other: { dangerouslyY: true } }
    },
    want: []
  })
  const env = { HOME: join(file, '../..') }
  const facts = await gatherFacts({ env, paths: resolvePaths(env), checkUrl: checkGatewayUrl })
  const report = reportOf(await look(), facts.config.suppressions, 7)
  t.match(report, { ts: 7, summary: { critical: 0, warn: 1, info: 2 } })
  t.same(brief(report.findings), [
    'config.insecure_or_dangerous_flags warn',
    'gateway.reload_off info',
    'security.audit.suppressions.active info'
  ])
  t.match(report.findings[0]?.detail, /dangerouslyY/, 'one accepted flag does not hide another')
  t.match(report.suppressedFindings, [
    { checkId: 'gateway.bind_plaintext', suppression: { reason: 'my own cable' } },
    { checkId: 'config.insecure_or_dangerous_flags' }
  ])
  t.match(report.findings[2]?.detail, /4 entries, which hide 2 findings/)
  t.notOk('suppressedFindings' in reportOf([], [], 7))
})

t.test('a program that hands out secrets is not run', { skip: platform() === 'win32' }, async (t) => {
  const row: Row = {
    name: '',
    gateway: { auth: { mode: 'token', token: { source: 'exec', provider: 'vault', id: 'x' } } },
    want: []
  }
  const { look, file } = state(t, row)
  const trace = join(file, '..', 'ran')
  const program = join(file, '..', 'vault.sh')
  writeFileSync(program, `#!/bin/sh\ntouch ${trace}\n`, { mode: 0o700 })
  const text = JSON.parse(readFileSync(file, 'utf8'))
  text.secrets = { providers: { vault: { source: 'exec', command: program } } }
  writeFileSync(file, JSON.stringify(text))
  t.same(brief(await look()), [])
  t.throws(() => readFileSync(trace), { code: 'ENOENT' })
})
