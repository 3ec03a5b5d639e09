import fc from 'fast-check'
import t from 'tap'
import { matchesName, matchesPath } from '../../src/approvals/glob.ts'
import { type Plan, planDigest } from '../../src/approvals/plan.ts'
import { type Evaluation, evaluate, evaluateUnasked, rulesOf, settingsOf } from '../../src/approvals/policy.ts'
import { exactRule } from '../../src/approvals/rules.ts'
import type { Approvals, Rule } from '../../src/approvals/schema.ts'
import { commandsOf } from '../../src/approvals/script.ts'

const HOME = '/home/nick'
/** Where this host finds programs. */
const PATH: Record<string, string> = {
  rg: '/usr/bin/rg',
  git: '/usr/bin/git',
  ls: '/bin/ls',
  cat: '/bin/cat',
  find: '/usr/bin/find',
  echo: '/bin/echo',
  eval: '/usr/bin/eval',
  hash: '/usr/bin/hash',
  printf: '/usr/bin/printf',
  sh: '/bin/sh',
  bash: '/usr/bin/bash',
  env: '/usr/bin/env',
  nohup: '/usr/bin/nohup',
  timeout: '/usr/bin/timeout',
  sudo: '/usr/bin/sudo',
  xargs: '/usr/bin/xargs',
  python3: '/usr/bin/python3',
  node: '/usr/bin/node'
}

/** Programs that hide behind a link. */
const BEHIND: Record<string, string> = { '/home/nick/bin/tool': '/bin/dash' }

const lookup = (word: string) => {
  const resolvedPath = word.startsWith('/') ? word : Object.hasOwn(PATH, word) ? PATH[word] : undefined
  return resolvedPath === undefined ? undefined : { resolvedPath, realPath: BEHIND[resolvedPath] ?? resolvedPath }
}
const plan = (argv: string[], more: Partial<Plan> = {}): Plan => ({
  argv,
  cwd: '/work',
  resolvedPath: undefined,
  ...lookup(argv[0] ?? ''),
  lookup,
  ...more
})
const policy = (allowlist: (Rule | string)[], ask: 'off' | 'on-miss' | 'always' = 'on-miss'): Approvals => ({
  version: 1,
  defaults: { security: 'allowlist', ask },
  agents: { main: { allowlist: allowlist.map((rule) => (typeof rule === 'string' ? { pattern: rule } : rule)) } }
})
const verdict = ({ verdict, reason }: Evaluation) => `${verdict} ${reason}`
const judge = (document: Approvals, command: Plan) => verdict(evaluate(document, command, HOME))

t.test('security and ask decide before any rule does', async (t) => {
  const rows: [Approvals['defaults'], string, unasked: string][] = [
    [undefined, 'allow security-full', 'deny nobody-to-ask'],
    [{}, 'allow security-full', 'deny nobody-to-ask'],
    [{ security: 'full', ask: 'on-miss' }, 'allow security-full', 'deny nobody-to-ask'],
    [{ security: 'full', ask: 'always' }, 'ask ask-always', 'deny nobody-to-ask'],
    [{ security: 'full', ask: 'always', askFallback: 'full' }, 'ask ask-always', 'allow security-full'],
    [{ security: 'full', ask: 'always', askFallback: 'allowlist' }, 'ask ask-always', 'deny allowlist-miss'],
    [{ security: 'deny', ask: 'always', askFallback: 'full' }, 'deny security-deny', 'deny security-deny'],
    [{ security: 'allowlist' }, 'deny allowlist-miss', 'deny nobody-to-ask'],
    [{ security: 'allowlist', ask: 'off', askFallback: 'full' }, 'deny allowlist-miss', 'deny allowlist-miss'],
    [{ security: 'allowlist', ask: 'on-miss' }, 'ask allowlist-miss', 'deny nobody-to-ask'],
    [{ security: 'allowlist', ask: 'always' }, 'ask ask-always', 'deny nobody-to-ask']
  ]
  for (const [defaults, want, unasked] of rows) {
    const document: Approvals = { version: 1, ...(defaults === undefined ? {} : { defaults }) }
    t.equal(judge(document, plan(['rg', 'x'])), want, JSON.stringify(defaults))
    t.equal(verdict(evaluateUnasked(document, plan(['rg', 'x']), HOME)), unasked, JSON.stringify(defaults))
  }
})

t.test('an agent has its own settings, then those for all agents, then the defaults', async (t) => {
  const document: Approvals = {
    version: 1,
    defaults: { security: 'deny', ask: 'off' },
    agents: {
      '*': { security: 'allowlist', allowlist: [{ pattern: 'ls' }] },
      main: { ask: 'always', allowlist: [{ pattern: 'rg' }] },
      free: { security: 'full' },
      __proto__: {}
    }
  }
  t.match(settingsOf(document), { security: 'allowlist', ask: 'always', askFallback: 'deny' })
  t.match(settingsOf(document, 'free'), { security: 'full', ask: 'off' })
  t.match(settingsOf(document, 'stranger'), { security: 'allowlist', ask: 'off' })
  for (const id of ['__proto__', 'constructor', 'toString']) {
    t.match(settingsOf(document, id), { security: 'allowlist', ask: 'off' }, id)
  }
  const patterns = (id?: string) => rulesOf(document, id).map(({ pattern }) => pattern)
  t.same(patterns(), ['ls', 'rg'])
  t.same(patterns('stranger'), ['ls'])
  t.same(patterns('*'), ['ls'])
  t.equal(judge(document, plan(['rg'], { agentId: 'stranger' })), 'deny allowlist-miss', 'rules are of one agent')
  t.equal(judge(document, plan(['ls'], { agentId: 'stranger' })), 'allow allowlisted')
})

t.test('what a pattern matches', async (t) => {
  const allow = 'allow allowlisted'
  const miss = 'ask allowlist-miss'
  const rows: [name: string, rule: Rule | string, command: Plan, want: string][] = [
    ['a bare name, found on the PATH', 'rg', plan(['rg', 'x']), allow],
    ['a bare name, given as a path', 'rg', plan(['/usr/bin/rg']), miss],
    ['a bare name, of the folder', 'rg', plan(['./rg'], { resolvedPath: '/work/rg' }), miss],
    ['a bare name that was not found', 'rg', plan(['rg'], { resolvedPath: undefined }), miss],
    ['a bare glob', 'r*', plan(['rg']), allow],
    ['a bare glob is for the whole name', 'r', plan(['rg']), miss],
    ['a path', '/usr/bin/rg', plan(['rg']), allow],
    ['a path, given as it is', '/usr/bin/rg', plan(['/usr/bin/rg']), allow],
    ['another path', '/usr/local/bin/rg', plan(['rg']), miss],
    ['a folder', '/usr/bin/*', plan(['rg']), allow],
    ['a folder, not those below', '/usr/*', plan(['rg']), miss],
    ['a folder and those below', '/usr/**', plan(['rg']), allow],
    ['any folders between', '/usr/**/rg', plan(['rg']), allow],
    ['one character', '/usr/bin/r?', plan(['rg']), allow],
    ['the home folder', '~/bin/*', plan(['hi'], { resolvedPath: '/home/nick/bin/hi' }), allow],
    ['another home folder', '~/bin/*', plan(['hi'], { resolvedPath: '/home/eve/bin/hi' }), miss],
    ['a path with detours', '/usr/bin/**', plan(['x'], { resolvedPath: '/usr/bin/../../tmp/x' }), miss],
    ['a relative path', '**/rg', plan(['bin/rg'], { resolvedPath: 'bin/rg' }), miss],
    ['brackets and dots are themselves', '/usr/bin/[r]g', plan(['rg']), miss],
    ['a dot is no wildcard', '/usr.bin/rg', plan(['rg']), miss],
    [
      'what lies behind a link does not count',
      '/bin/ls',
      plan(['x'], { resolvedPath: '/tmp/x', realPath: '/bin/ls' }),
      miss
    ],
    ['arguments that fit', { pattern: 'git', argPattern: '^status$' }, plan(['git', 'status']), allow],
    ['arguments that do not', { pattern: 'git', argPattern: '^status$' }, plan(['git', 'status', '-s']), miss],
    ['arguments in parts', { pattern: 'git', argPattern: '^log -n 5$' }, plan(['git', 'log', '-n', '5']), allow],
    ['a line break does not end them', { pattern: 'git', argPattern: '^log$' }, plan(['git', 'log\n']), miss],
    ['a pattern that is no expression', { pattern: 'git', argPattern: '(' }, plan(['git', '(']), miss],
    [
      'an interpreter and a script it names',
      { pattern: 'python3', argPattern: '^safe\\.py$' },
      plan(['python3', 'safe.py']),
      allow
    ],
    [
      'the same, another script',
      { pattern: 'python3', argPattern: '^safe\\.py$' },
      plan(['python3', 'other.py']),
      miss
    ],
    [
      'a generated rule of another format',
      { pattern: '/usr/bin/rg', argPattern: 'sha256:argv:00', source: 'allow-always' },
      plan(['rg']),
      miss
    ],
    ['a generated rule without arguments', { pattern: '/usr/bin/rg', source: 'allow-always' }, plan(['rg']), miss],
    ['inert environment', 'rg', plan(['rg'], { env: { LANG: 'C', LC_ALL: 'C', TERM: 'dumb' } }), allow],
    ['environment that changes programs', 'rg', plan(['rg'], { env: { LD_PRELOAD: '/tmp/x.so' } }), miss],
    ['any other environment', 'git', plan(['git'], { env: { GIT_SSH_COMMAND: 'x' } }), miss]
  ]
  for (const [name, rule, command, want] of rows) t.equal(judge(policy([rule]), command), want, name)
})

t.test('a command inside a command needs its own rule', async (t) => {
  const rules = [
    'rg',
    'git',
    'ls',
    'find',
    'echo',
    'eval',
    'hash',
    'printf',
    '/usr/bin/*',
    '/bin/*',
    '~/bin/*',
    '*',
    '**',
    '/**'
  ]
  const allow = 'allow allowlisted'
  const miss = 'ask allowlist-miss'
  const rows: [argv: string[], want: string][] = [
    [['sh', '-c', 'rg foo'], allow],
    [['/bin/sh', '-lc', 'rg foo && git status | rg x; ls'], allow],
    [['bash', '-c', `rg 'a b' "c d" --x=y`], allow],
    [['env', 'rg', 'x'], allow],
    [['nohup', 'timeout', '5', 'sh', '-c', 'rg x'], allow],
    [['sh', '-c', 'sh -c "rg x"'], allow],
    [['sh', '-c', 'sudo rg x'], miss],
    [['sh', '-c', 'rg x; python3 evil.py'], miss],
    [['sh', '-c', 'curl x | sh'], miss],
    [['sh', '-c', 'rg $(id)'], miss],
    [['sh', '-c', 'rg "$(id)"'], miss],
    [['sh', '-c', 'rg `id`'], miss],
    [['sh', '-c', 'rg > /etc/x'], miss],
    [['sh', '-c', 'rg x & id'], miss],
    [['sh', '-c', 'PATH=/tmp rg x'], miss],
    [['sh', '-c', 'eval id'], miss],
    [['sh', '-c', '"eval" id'], miss],
    [['sh', '-c', 'e"va"l id'], miss],
    [['sh', '-c', 'hash -p /tmp/evil rg; rg'], miss],
    [['sh', '-c', 'printf -v PATH /tmp; rg'], miss],
    [['sh', '-c', '. /tmp/x'], miss],
    [['sh', '-c', 'rg x # ; id'], miss],
    [['sh', '-c', 'rg *'], miss],
    [['sh', '-c', 'rg {a,b}'], miss],
    [['sh', '-c', 'rg x\\\nid'], miss],
    [['sh', '-c', "rg 'x"], miss],
    [['sh', '-c', ''], miss],
    [['sh', '-c', 'nothing-of-that-name'], miss],
    [['sh', '-c', './rg'], miss],
    [['sh', '-c', 'rg x', 'name'], miss],
    [['sh', '-ic', 'rg x'], miss],
    [['sh', '-c'], miss],
    [['sh'], miss],
    [['sh', 'script.sh'], miss],
    [['bash', '--rcfile', '/tmp/x', '-c', 'rg'], miss],
    [['env', 'A=1', 'rg'], miss],
    [['env', '-S', 'rg x'], miss],
    [['env', '-i', 'rg'], miss],
    [['env'], miss],
    [['timeout', '-s', 'KILL', 'rg'], miss],
    [['sudo', 'rg'], miss],
    [['xargs', 'rg'], miss],
    [['python3', '-c', 'print()'], miss],
    [['python3', 'script.py'], miss],
    [['python3'], miss],
    [['node', '-e', '0'], miss],
    [['find', '.', '-name', 'x'], allow],
    [['find', '.', '-exec', 'id', ';'], miss],
    [['/tmp/sh', '-c', 'rg x'], miss],
    [['/tmp/env', 'rg'], miss],
    [['/usr/bin/Python3.11', '-c', '0'], miss],
    [['/usr/bin/bash-5.2', '-c', 'rg'], miss],
    [['/home/nick/bin/tool', '-c', 'id'], miss]
  ]
  for (const [argv, want] of rows) t.equal(judge(policy(rules), plan(argv)), want, argv.join(' '))
  const found = evaluate(policy(['rg', 'git']), plan(['sh', '-c', 'rg x && git status']), HOME)
  t.same(
    found.rules.map(({ pattern }) => pattern),
    ['rg', 'git'],
    'every rule that it took is named'
  )
  t.equal(found.rule?.pattern, 'rg')
  t.equal(judge(policy(['rg']), plan(['sh', '-c', 'rg x && git status'])), miss)
  t.equal(judge(policy(['rg']), plan(['sh', '-c', 'rg x'], { lookup: undefined })), miss, 'unless the host can tell')
  t.equal(
    judge(policy([{ pattern: 'sh', argPattern: '^-c id$' }]), plan(['sh', '-c', 'id'])),
    allow,
    'a rule may say so'
  )
})

t.test('"allow always" is for one command, in one folder, with one environment', async (t) => {
  const approved = plan(['sh', '-c', 'rm -rf build'], { env: { CI: '1' } })
  const rule = exactRule('/bin/sh', planDigest(approved), 1)
  const document = policy([rule])
  t.equal(judge(document, approved), 'allow allowlisted')
  t.equal(judge(document, { ...approved }), 'allow allowlisted')
  t.equal(judge(policy([rule], 'always'), approved), 'ask ask-always', 'not where a person is asked each time')
  const changed: Partial<Plan>[] = [
    { argv: ['sh', '-c', 'rm -rf build '] },
    { argv: ['sh', '-c', 'rm', '-rf build'] },
    { argv: ['/bin/sh', '-c', 'rm -rf build'] },
    { cwd: '/' },
    { cwd: undefined },
    { env: { CI: '2' } },
    { env: {} },
    { env: { CI: '1', X: '' } },
    { resolvedPath: '/tmp/sh' },
    { resolvedPath: undefined },
    { agentId: 'other' }
  ]
  for (const change of changed)
    t.equal(judge(document, { ...approved, ...change }), 'ask allowlist-miss', JSON.stringify(change))
  const starry = plan(['x'], { resolvedPath: '/opt/*/x' })
  const literal = policy([exactRule('/opt/*/x', planDigest(starry), 1)])
  t.equal(judge(literal, starry), 'allow allowlisted')
  t.equal(judge(literal, { ...starry, resolvedPath: '/opt/a/x' }), 'ask allowlist-miss', 'its path is no glob')
})

t.test('a command that cannot run is refused, whatever the policy', async (t) => {
  const open: Approvals = { version: 1, defaults: { security: 'full' } }
  for (const command of [
    plan([]),
    plan(['']),
    plan([' ']),
    plan(['rg', 'a\0b']),
    plan(['rg'], { cwd: '/tmp\0' }),
    plan(['rg'], { env: { A: '\0' } }),
    plan(['rg'], { env: { '\0': 'A' } })
  ]) {
    t.equal(judge(open, command), 'deny malformed', JSON.stringify(command.argv))
  }
})

t.test('a pattern that would never end is ended', async (t) => {
  const started = performance.now()
  const document = policy([{ pattern: 'rg', argPattern: '^(a+)+$' }, { pattern: `${'**/'.repeat(400)}x` }])
  t.equal(judge(document, plan(['rg', `${'a'.repeat(60)}!`])), 'ask allowlist-miss')
  t.equal(judge(document, plan(['rg', 'a'.repeat(20_000)])), 'ask allowlist-miss', 'arguments too long are no match')
  t.equal(judge(document, plan(['x'], { resolvedPath: '/a'.repeat(1_000) })), 'ask allowlist-miss')
  t.ok(performance.now() - started < 2_000)
})

t.test('globs', async () => {
  const name = fc.stringMatching(/^[ab*?.-]{0,8}$/)
  const toRegExp = (glob: string) => {
    const source = glob.replaceAll(/[.-]/g, '\\$&').replaceAll('?', '[^]').replaceAll(/\*+/g, '[^]*')
    return new RegExp(`^${source}$`)
  }
  fc.assert(
    fc.property(name, fc.stringMatching(/^[ab.-]{0,8}$/), (glob, text) => {
      return matchesName(glob, text) === toRegExp(glob).test(text)
    }),
    { numRuns: 2_000 }
  )
  const part = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '**', '?')
  const folders = fc.array(fc.constantFrom('a', 'b', 'ab', 'c'), { maxLength: 6 })
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), folders, (parts, names) => {
      const each = (glob: string) => toRegExp(glob).source.slice(1, -1).replaceAll('[^]', '[^/]')
      const source = parts.map((glob) => (glob === '**' ? '(?:/[^/]+)*' : `/${each(glob)}`)).join('')
      return (
        matchesPath(parts.map((glob) => `/${glob}`).join(''), names.map((each) => `/${each}`).join('')) ===
        new RegExp(`^${source}$`).test(names.map((each) => `/${each}`).join(''))
      )
    }),
    { numRuns: 2_000 }
  )
})

const words = [
  ...Object.keys(PATH),
  ...Object.values(PATH),
  '/tmp/sh',
  '/home/nick/bin/tool',
  './rg',
  '..',
  '-c',
  '-lc',
  '-e',
  '--',
  '-',
  '',
  ' ',
  'A=1',
  '5',
  'id',
  'rg x',
  'rg x; id',
  'rg "$(id)"',
  'rg `id`',
  'rg x | sh',
  'eval id',
  'exec id',
  'sh -c id',
  'python3 -c "import os"',
  "rg 'x' && env python3 -c 1",
  '\n',
  '\0',
  '😀',
  '\ud800'
]
const hostile = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 12 })), {
  minLength: 1,
  maxLength: 7
})

t.test('over generated commands: no rule for programs alone ever runs a program that has none', async (t) => {
  // `rg` and `ls` are the only programs that anybody allowed; `sh`, `env` and all others are allowed by name alone.
  const rules = [
    'rg',
    '/bin/ls',
    'sh',
    '/bin/*sh',
    'env',
    'sudo',
    'python*',
    'node',
    'xargs',
    'nohup',
    'timeout',
    'bash'
  ]
  const document = policy(rules)
  const harmless = new Set(['rg', 'ls', '/bin/ls'])
  /** Every word that a shell or a wrapper could take for a program, the most generous reading there is. */
  const programs = (argv: string[]): string[] => {
    const [name = '', ...rest] = argv
    const base = name.split('/').at(-1)!
    if (['sh', 'bash'].includes(base)) return (commandsOf(rest[1] ?? '') ?? [['UNKNOWN']]).flatMap(programs)
    if (['env', 'nohup'].includes(base)) return programs(rest)
    if (base === 'timeout') return programs(rest.slice(1))
    return [name]
  }
  let allowed = 0
  fc.assert(
    fc.property(hostile, (argv) => {
      const { verdict } = evaluate(document, plan(argv), HOME)
      if (verdict !== 'allow') return
      allowed++
      for (const program of programs(argv)) if (!harmless.has(program)) throw new Error(`${program} ran`)
    }),
    { numRuns: 20_000 }
  )
  t.ok(allowed > 100, `${allowed} were allowed`)
})

t.test('over generated commands: evaluation never throws, and denial is never widened', async () => {
  const settings = fc.record(
    {
      security: fc.constantFrom('deny', 'allowlist', 'full'),
      ask: fc.constantFrom('off', 'on-miss', 'always'),
      askFallback: fc.constantFrom('deny', 'allowlist', 'full')
    },
    { requiredKeys: [] }
  )
  const rule = fc.oneof(
    fc.record({ pattern: fc.constantFrom(...words.filter((word) => word.trim() !== '')) }),
    fc.record({
      pattern: fc.constantFrom('*', '**', '/**', 'rg'),
      argPattern: fc.constantFrom('.*', '^x$', '(', 'sha256:plan:0')
    })
  )
  fc.assert(
    fc.property(
      settings,
      settings,
      fc.array(rule, { maxLength: 4 }),
      hostile,
      fc.option(fc.string(), { nil: undefined }),
      (defaults, own, allowlist, argv, cwd) => {
        const document = { version: 1, defaults, agents: { main: { ...own, allowlist } } } as Approvals
        const command = plan(argv, { cwd })
        const { verdict, rules } = evaluate(document, command, HOME)
        const { security, ask, askFallback } = settingsOf(document)
        const alone = evaluateUnasked(document, command, HOME)
        const facts: [string, boolean][] = [
          ['deny denies', security !== 'deny' || (verdict === 'deny' && alone.verdict === 'deny')],
          ['ask=off asks nobody', ask !== 'off' || verdict !== 'ask'],
          ['ask=always allows nothing', ask !== 'always' || verdict !== 'allow'],
          ['what is allowed names its rules', security !== 'allowlist' || verdict !== 'allow' || rules.length > 0],
          ['askFallback=deny denies', askFallback !== 'deny' || alone.verdict === 'deny'],
          ['nobody is asked when nobody can be', alone.verdict !== 'ask'],
          ['nobody allows more than somebody', alone.verdict !== 'allow' || verdict !== 'deny']
        ]
        for (const [fact, holds] of facts) if (!holds) throw new Error(fact)
      }
    ),
    { numRuns: 2_000 }
  )
})

t.test('a digest names a command exactly', async (t) => {
  const command = fc.record({
    argv: fc.array(fc.oneof(fc.string(), fc.constantFrom(...words))),
    cwd: fc.option(fc.string(), { nil: undefined }),
    env: fc.dictionary(fc.string(), fc.string())
  })
  const text = ({ argv, cwd, env }: { argv: string[]; cwd: string | undefined; env: Record<string, string> }) =>
    JSON.stringify([argv, cwd ?? null, Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))])
  fc.assert(
    fc.property(command, command, (a, b) => (planDigest(a) === planDigest(b)) === (text(a) === text(b))),
    { numRuns: 2_000 }
  )
  t.equal(
    planDigest({ argv: ['a'], cwd: '/', env: { A: '1', B: '2' } }),
    planDigest({ argv: ['a'], cwd: '/', env: { B: '2', A: '1' } })
  )
  t.equal(planDigest({ argv: ['a'], cwd: '/' }), planDigest({ argv: ['a'], cwd: '/', env: {} }))
  t.not(planDigest({ argv: ['a b'], cwd: '/' }), planDigest({ argv: ['a', 'b'], cwd: '/' }))
})
