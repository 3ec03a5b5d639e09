import fc from 'fast-check'
import t from 'tap'
import { familyOf, type NodePlatform, platformOf } from '../../src/nodes/platform.ts'
import { approvalScopes, CommandPolicy, invokeScope } from '../../src/nodes/policy.ts'
import { effective, offerOf, requestable, sameSurface, widens } from '../../src/nodes/surface.ts'

const open = new CommandPolicy({ allow: [], deny: [] })

t.test('a platform is what both of its words say', async (t) => {
  const rows: [platform: string, family: string | undefined, want: NodePlatform, shown?: string][] = [
    ['linux', undefined, 'linux', 'Linux'],
    ['linux', 'Linux', 'linux'],
    [' linux ', undefined, 'linux', 'Linux'],
    ['linux 6.1', undefined, 'unknown'],
    ['linux 6.1', 'Linux', 'unknown'],
    ['LINUX', undefined, 'unknown'],
    ['linux', 'Mac', 'unknown'],
    ['linux', 'iPhone', 'unknown'],
    ['linux', 'Foo', 'unknown'],
    ['darwin', undefined, 'macos', 'Mac'],
    ['macos', undefined, 'macos', 'Mac'],
    ['macOS 26.0', 'Mac', 'macos'],
    ['macos 14', undefined, 'unknown'],
    ['darwin 24', undefined, 'unknown'],
    ['darwin', 'iPhone', 'unknown'],
    ['macosx', undefined, 'unknown'],
    ['win32', undefined, 'windows', 'Windows'],
    ['windows', undefined, 'windows', 'Windows'],
    ['Windows', 'Windows', 'windows'],
    ['Windows 11', 'Windows', 'unknown'],
    ['Windows_NT', undefined, 'unknown'],
    ['ios', undefined, 'ios'],
    ['iOS 18.4', 'iPhone', 'ios'],
    ['iPadOS 18', 'iPad', 'ios'],
    ['ipados', undefined, 'unknown'],
    ['ios 18.1.1', undefined, 'unknown'],
    ['iOS 18', 'iPod', 'unknown'],
    ['ios', 'Mac', 'unknown'],
    ['watchOS 11', 'Apple Watch', 'watchos'],
    ['watchos', undefined, 'unknown'],
    ['watchOS 11', 'Watch', 'unknown'],
    ['android', undefined, 'android'],
    ['Android 15', 'Android', 'android'],
    ['android 15', undefined, 'unknown'],
    ['android', 'iPhone', 'unknown'],
    ['plan9', undefined, 'unknown'],
    ['freebsd', undefined, 'unknown'],
    ['', undefined, 'unknown'],
    ['constructor', undefined, 'unknown']
  ]
  for (const [platform, deviceFamily, want, shown] of rows) {
    const machine = { platform, ...(deviceFamily === undefined ? {} : { deviceFamily }) }
    t.equal(platformOf(machine), want, `${platform} ${deviceFamily ?? ''}`)
    if (platform !== 'constructor') t.equal(familyOf(machine), deviceFamily ?? shown)
  }
})

const all =
  'system.run system.run.prepare system.which system.notify system.execApprovals.get system.execApprovals.set browser.proxy browser.proxy.upload.v1 mcp.tools.call.v1 screen.snapshot desktop.stream fs.listDir terminal.upload canvas.present canvas.hide canvas.navigate canvas.eval camera.list camera.snap camera.clip camera.ptz.status camera.ptz.control location.get device.info device.status device.permissions device.health device.apps contacts.search contacts.add calendar.events calendar.add reminders.list reminders.add photos.latest motion.activity motion.pedometer notifications.list notifications.actions callLog.search mobile.ui.observe mobile.ui.act computer.act screen.record health.summary sms.send sms.search my.custom debug.logs'.split(
    ' '
  )
const host =
  'system.run system.run.prepare system.which system.notify system.execApprovals.get system.execApprovals.set browser.proxy browser.proxy.upload.v1 mcp.tools.call.v1 screen.snapshot desktop.stream fs.listDir terminal.upload'
const personal = 'contacts.search calendar.events reminders.list photos.latest motion.activity motion.pedometer'
/** What the reference lets each platform ask for, of all of these. */
const asked: Record<NodePlatform, string> = {
  linux: `${host} camera.list location.get computer.act`,
  macos: `${host} canvas.present canvas.hide canvas.navigate camera.list camera.ptz.status location.get device.info device.status device.apps ${personal} computer.act`,
  windows: `${host} camera.list location.get device.info device.status computer.act`,
  ios: `system.notify camera.list location.get device.info device.status ${personal}`,
  watchos: 'system.notify device.info device.status',
  android: `system.notify camera.list location.get device.info device.status device.permissions device.health device.apps ${personal} notifications.list notifications.actions callLog.search mobile.ui.observe mobile.ui.act`,
  unknown: 'system.notify camera.list location.get'
}
const platforms = Object.keys(asked) as NodePlatform[]

t.test('each platform may ask for its own commands, and runs them once approved', async (t) => {
  for (const platform of platforms) {
    const subject = { platform, talks: false }
    t.strictSame(
      all.filter((command) => open.mayAsk(command, subject)),
      all.filter((command) => asked[platform].split(' ').includes(command)),
      platform
    )
    for (const command of all) {
      t.equal(open.mayRun(command, subject, true), open.mayAsk(command, subject), `${platform} ${command}, approved`)
      const byApproval = host.split(' ').includes(command) && command !== 'system.notify'
      t.equal(open.mayRun(command, subject, false), open.mayAsk(command, subject) && !byApproval, `${command}, not`)
    }
  }
})

t.test('whoever talks may be pushed to talk, on any platform', async (t) => {
  for (const platform of platforms) {
    t.ok(open.mayAsk('talk.ptt.once', { platform, talks: true }))
    t.notOk(open.mayAsk('talk.ptt.once', { platform, talks: false }))
    t.notOk(open.mayAsk('talk.other', { platform, talks: true }))
  }
  const machine = { platform: 'plan9' }
  const none = { caps: [], commands: [], permissions: {}, pathEnv: undefined }
  t.ok(offerOf({ ...none, caps: ['talk'] }, machine).subject.talks)
  t.ok(offerOf({ ...none, commands: ['talk.ptt.once'] }, machine).subject.talks)
  t.notOk(offerOf(none, machine).subject.talks)
})

t.test('what is denied stays denied, and what is allowed is named in full', async (t) => {
  const name = fc.constantFrom(...all, 'camera.*', '*')
  fc.assert(
    fc.property(
      fc.array(name),
      fc.array(name),
      fc.constantFrom(...all),
      fc.constantFrom(...platforms),
      fc.boolean(),
      (allow, deny, command, platform, approved) => {
        const policy = new CommandPolicy({ allow, deny })
        const subject = { platform, talks: false }
        const may = policy.mayRun(command, subject, approved)
        if (deny.includes(command)) return !may && !policy.mayAsk(command, subject) && !policy.wantsOptIn(command)
        if (allow.includes(command)) return may && policy.mayAsk(command, subject)
        return may === open.mayRun(command, subject, approved)
      }
    )
  )
  t.ok(open.wantsOptIn('camera.snap'))
  t.notOk(open.wantsOptIn('my.custom'))
  t.notOk(new CommandPolicy({ allow: [], deny: ['camera.snap'] }).wantsOptIn('camera.snap'))
  t.ok(
    new CommandPolicy({ allow: [' camera.snap '], deny: [] }).mayRun(
      'camera.snap',
      { platform: 'ios', talks: false },
      false
    )
  )
})

t.test('what runs programs or reads files is for an admin to approve', async (t) => {
  const sensitive =
    'system.run system.run.prepare system.which system.execApprovals.get system.execApprovals.set browser.proxy browser.proxy.upload.v1 fs.listDir terminal.upload'.split(
      ' '
    )
  for (const command of all) {
    const second = sensitive.includes(command) ? 'operator.admin' : 'operator.write'
    t.strictSame(approvalScopes([command]), ['operator.pairing', second], command)
    t.strictSame(approvalScopes(['my.custom', command])[1], second, `among others: ${command}`)
  }
  t.strictSame(approvalScopes([]), ['operator.pairing'])
  for (const command of all) {
    const admin = ['browser.proxy', 'browser.proxy.upload.v1', 'fs.listDir', 'terminal.upload'].includes(command)
    t.equal(invokeScope(command), admin ? 'operator.admin' : 'operator.write', command)
  }
})

const names = fc.uniqueArray(fc.constantFrom<string>('a', 'b', 'c', 'system.notify', 'system.which', 'camera.list'))
const declared = fc.record({
  caps: names,
  commands: names,
  permissions: fc.dictionary(fc.constantFrom('x', 'y'), fc.boolean()),
  pathEnv: fc.constant(undefined)
})

t.test('nothing runs that is not declared, approved and allowed (S8)', async () => {
  fc.assert(
    fc.property(declared, fc.option(declared, { nil: undefined }), names, names, (declares, approved, allow, deny) => {
      const policy = new CommandPolicy({ allow, deny })
      const offer = offerOf(declares, { platform: 'linux' })
      const surface = approved && { ...approved, createdAtMs: 1, approvedAtMs: 1 }
      const { caps, commands, permissions } = effective(offer, surface, policy)
      const asked = requestable(offer, policy)
      return (
        [...commands].every((each) => {
          return declares.commands.includes(each) && approved?.commands.includes(each) && !deny.includes(each)
        }) &&
        caps.every((each) => declares.caps.includes(each) && approved?.caps.includes(each)) &&
        Object.entries(permissions).every(([each, granted]) => !granted || approved?.permissions[each] === true) &&
        // Whoever approves all that is asked for is not asked again.
        !widens(asked, asked) &&
        sameSurface(asked, asked) &&
        (surface === undefined || widens(asked, surface) || [...commands].length === asked.commands.length)
      )
    })
  )
})

t.test('a declaration is made tidy and has an end', async (t) => {
  const many = Array.from({ length: 1000 }, (_, i) => `c${i}`)
  const offer = offerOf(
    {
      caps: ['a', ' a ', '', ' '],
      commands: [...many, 'x'.repeat(129)],
      permissions: Object.fromEntries(many.map((name) => [name, true])),
      pathEnv: 'p'.repeat(10_000)
    },
    { platform: 'linux' }
  )
  t.strictSame(offer.caps, ['a'])
  t.equal(offer.commands.length, 256)
  t.equal(Object.keys(offer.permissions).length, 256)
  t.equal(offer.pathEnv?.length, 8192)
})
