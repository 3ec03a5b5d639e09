import type { Facts } from './facts.ts'
import type { FileFact, FileRole } from './files-facts.ts'
import { type Finding, hostFix, quoteAll, type Severity, shellWord } from './finding.ts'

/** Bits that one check looks for, and what it is called then. */
interface Rule {
  bits: number
  id: string
  severity: Severity
  /** What others can do. */
  can: string
}

/** What the permissions of one kind of file may be. */
interface Kind {
  noun: string
  /** How to close it: for `chmod`. */
  close: '700' | '600' | 'go-w'
  /** The first that applies is reported. */
  rules: readonly Rule[]
}

const GROUP_OR_OTHERS_WRITE = 0o022
const writable: Rule = { bits: GROUP_OR_OTHERS_WRITE, id: 'perms_writable', severity: 'critical', can: 'change' }
const readable: Rule = { bits: 0o044, id: 'perms_readable', severity: 'warn', can: 'read' }
const secret: readonly Rule[] = [
  writable,
  { bits: 0o004, id: 'perms_world_readable', severity: 'critical', can: 'read' },
  { bits: 0o040, id: 'perms_group_readable', severity: 'warn', can: 'read' }
]
const folder: readonly Rule[] = [writable, { ...readable, bits: 0o055 }]

const KINDS: Record<Exclude<FileRole, 'state_parent'>, Kind> = {
  state_dir: {
    noun: 'The state folder',
    close: '700',
    rules: [
      { bits: 0o002, id: 'perms_world_writable', severity: 'critical', can: 'change' },
      { bits: 0o020, id: 'perms_group_writable', severity: 'warn', can: 'change' },
      { bits: 0o055, id: 'perms_readable', severity: 'warn', can: 'look into' }
    ]
  },
  config: { noun: 'The configuration file', close: '600', rules: secret },
  config_backup: { noun: 'The backup of the configuration', close: '600', rules: secret },
  config_include: { noun: 'A file that the configuration includes', close: '600', rules: secret },
  dotenv: { noun: 'The file of variables', close: '600', rules: secret },
  database: { noun: 'The database', close: '600', rules: [writable, readable] },
  logs_dir: { noun: 'The folder of the logs', close: '700', rules: folder },
  log_file: {
    noun: 'A log file',
    close: '600',
    rules: [readable, { ...writable, severity: 'warn' }]
  },
  credentials_dir: { noun: 'The folder of credentials', close: '700', rules: folder },
  local_socket: { noun: "The owner's socket", close: '600', rules: [{ ...writable, can: 'open' }] },
  tls_key: { noun: 'The private key of the certificate', close: '600', rules: secret },
  secret_file: { noun: 'A file of secrets', close: '600', rules: secret },
  secret_command: { noun: 'A program that hands out secrets', close: 'go-w', rules: [writable] }
}

/** A file whose permissions are too wide, and what closes it. */
export interface LooseFile {
  file: FileFact
  kind: Kind
  rule: Rule
}

/** The files that users other than their owner can read or change. */
export function looseFiles({ platform, files }: Pick<Facts, 'platform' | 'files'>): LooseFile[] {
  // Windows has access lists; the bits say nothing there.
  if (platform === 'win32') return []
  return files.flatMap((file) => {
    if (file.role === 'state_parent') return []
    const kind = KINDS[file.role]
    const rule = kind.rules.find(({ bits }) => (file.mode & bits) !== 0)
    return rule === undefined ? [] : [{ file, kind, rule }]
  })
}

/** Who can get at the gateway's files. */
export function fileFindings(facts: Facts): Finding[] {
  return [...looseFiles(facts).map((loose) => permission(loose, facts)), ...owners(facts), ...layout(facts)]
}

function permission({ file, kind, rule }: LooseFile, { config }: Facts): Finding {
  const who = (file.mode & rule.bits & 0o007) !== 0 ? 'Every user of this host' : 'The group'
  const holds = ['config', 'config_backup', 'config_include'].includes(file.role) ? config.plainSecrets : []
  const held = holds.length === 0 ? '' : ` It holds ${holds.slice(0, 6).join(', ')}.`
  return {
    checkId: `fs.${file.role}.${rule.id}`,
    severity: rule.severity,
    title: `${kind.noun} is open to others`,
    detail: `${file.path} has mode ${octal(file.mode)}. ${who} can ${rule.can} it.${held}`,
    remediation: 'Close it to everybody but its owner.',
    fix: hostFix(`chmod ${kind.close} ${shellWord(file.real)}`)
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(3, '0')
}

function owners({ uid, files }: Facts): Finding[] {
  if (uid === undefined) return []
  const foreign = files.filter(({ role, owner }) => {
    const decides = role === 'state_dir' || role === 'config' || role === 'config_include' || role === 'dotenv'
    // Whatever root owns is safe: root could change ours as well.
    return decides && owner !== uid && owner !== 0
  })
  return foreign.map(({ role, path, owner, real }) => ({
    checkId: `fs.${role}.owner`,
    severity: uid === 0 ? 'warn' : 'critical',
    title: 'A file that decides over the gateway belongs to another user',
    detail: `${path} belongs to user ${owner}, and this is user ${uid}${uid === 0 ? ': that user decides what a gateway of root does' : ''}.`,
    remediation:
      uid === 0
        ? 'Run the gateway, and this command, as the user that owns the files; else take them over.'
        : 'Take it over, when you know how it came about.',
    fix: hostFix(`sudo chown -R ${uid} ${shellWord(real)}`)
  }))
}

function layout({ files, stateDir, platform }: Facts): Finding[] {
  const found: Finding[] = []
  const parent = files.find(({ role }) => role === 'state_parent')
  if (parent !== undefined && platform !== 'win32' && (parent.mode & 0o1002) === 0o002) {
    found.push({
      checkId: 'fs.state_dir.parent_writable',
      severity: 'critical',
      title: 'Everybody can put another state folder in the place of this one',
      detail: `${parent.path} has mode ${octal(parent.mode)}, and ${stateDir} lies in it.`,
      remediation: 'Close the folder above, or move the state folder (OPENCLAW_STATE_DIR).',
      fix: hostFix(`chmod o-w ${shellWord(parent.real)}`)
    })
  }
  for (const { role, path, link } of files) {
    if (link === undefined || !(role === 'state_dir' || role === 'config')) continue
    found.push({
      checkId: `fs.${role}.symlink`,
      severity: 'warn',
      title: `${KINDS[role].noun} is a symbolic link`,
      detail: `${path} leads to ${link}: whoever can change that place, or the folders above it, decides over the gateway.`,
      remediation: `Name the real place instead (${role === 'config' ? 'OPENCLAW_CONFIG_PATH' : 'OPENCLAW_STATE_DIR'}).`
    })
  }
  const synced = files.filter(({ role, real }) => (role === 'state_dir' || role === 'config') && SYNCED.test(real))
  if (synced.length > 0) {
    found.push({
      checkId: 'fs.synced_dir',
      severity: 'warn',
      title: 'Secrets lie in a folder that is copied to a cloud',
      detail: `${quoteAll(synced.map(({ real }) => real))}: tokens and state go to every machine and person that the folder is shared with, and a synchronised database breaks.`,
      remediation: 'Move them to a local folder (OPENCLAW_STATE_DIR, OPENCLAW_CONFIG_PATH).'
    })
  }
  return found
}

const SYNCED =
  /[\\/](?:Dropbox(?: \([^\\/]*\))?|OneDrive(?: - [^\\/]*)?|Google ?Drive|iCloud ?Drive|Mobile Documents|CloudStorage|Nextcloud|ownCloud|pCloud ?Drive|MEGA|Syncthing|Sync)[\\/]/i
