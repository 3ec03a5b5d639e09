import t from 'tap'
import { scopesFor } from '../../src/client/method-scopes.ts'
import { describeEndpoint, resolveTargets, type TargetInput } from '../../src/client/target.ts'
import { refusal } from '../support/refusal.ts'

t.test('targets', (t) => {
  const base: TargetInput = {
    hasCredential: false,
    mode: undefined,
    remoteUrl: undefined,
    localPort: 18789,
    localTls: false,
    localSocket: '/s/gateway.sock'
  }
  const socket = 'unix:/s/gateway.sock'
  const rows: { name: string; input: Partial<TargetInput>; want: string[] | string }[] = [
    { name: 'the owner’s socket comes first, then loopback', input: {}, want: [socket, 'ws://127.0.0.1:18789'] },
    {
      name: 'a credential given by hand is used, so the socket is not',
      input: { hasCredential: true },
      want: ['ws://127.0.0.1:18789']
    },
    {
      name: 'mode local ignores gateway.remote.url',
      input: { mode: 'local', remoteUrl: 'wss://r.example' },
      want: [socket, 'ws://127.0.0.1:18789']
    },
    {
      name: 'R31: mode remote uses gateway.remote.url',
      input: { mode: 'remote', remoteUrl: 'wss://r.example' },
      want: ['wss://r.example']
    },
    { name: 'R31: mode remote without a URL is refused', input: { mode: 'remote' }, want: 'TARGET_INVALID' },
    {
      name: 'R23: OPENCLAW_GATEWAY_URL wins over the file',
      input: { mode: 'remote', remoteUrl: 'wss://r.example', envUrl: 'wss://e.example' },
      want: ['wss://e.example']
    },
    {
      name: 'R21: --url wins over all',
      input: { url: 'wss://u.example', envUrl: 'wss://e.example' },
      want: ['wss://u.example']
    },
    {
      name: '--port names a gateway on this host',
      input: { port: 19100, envUrl: 'wss://e.example', mode: 'remote', remoteUrl: 'wss://r.example' },
      want: ['ws://127.0.0.1:19100']
    },
    {
      name: 'a gateway on this host that speaks TLS is reached by TLS',
      input: { localTls: true },
      want: [socket, 'wss://127.0.0.1:18789']
    },
    {
      name: '--port too',
      input: { localTls: true, port: 19100 },
      want: ['wss://127.0.0.1:19100']
    },
    {
      name: 'which says nothing about any other',
      input: { localTls: true, url: 'ws://10.0.0.5' },
      want: ['ws://10.0.0.5']
    },
    { name: '--url and --port exclude each other', input: { url: 'wss://u.example', port: 1 }, want: 'TARGET_INVALID' },
    { name: 'R33: the policy holds for the environment too', input: { envUrl: 'ws://8.8.8.8' }, want: 'URL_INSECURE' },
    {
      name: 'R33: the policy holds for the file too',
      input: { mode: 'remote', remoteUrl: 'ws://example.com' },
      want: 'URL_INSECURE'
    }
  ]
  for (const { name, input, want } of rows) {
    t.test(name, (t) => {
      if (typeof want === 'string')
        t.equal(
          refusal(() => resolveTargets({ ...base, ...input })),
          want
        )
      else t.same(resolveTargets({ ...base, ...input }).map(describeEndpoint), want)
      t.end()
    })
  }
  t.end()
})

t.test('a method is called with the least scope that it needs', (t) => {
  t.same(scopesFor('health'), ['operator.read'])
  t.same(scopesFor('device.pair.approve'), ['operator.pairing'])
  t.ok(scopesFor('no.such.method').includes('operator.admin'))
  t.end()
})
