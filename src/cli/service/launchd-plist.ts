import { join } from 'node:path'
import { MARK, refuseControls, type ServiceCommand, type ServiceSpec } from './service.ts'

/** The text of a LaunchAgent that keeps a command running. */
export function plistText(label: string, spec: ServiceSpec): string {
  refuseControls(spec)
  const log = join(spec.logDir, `${spec.kind}.launchd.log`)
  const environment = Object.entries(spec.env).flatMap(([name, value]) => [key(name, 4), string(value, 4)])
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    `<!-- ${MARK} -->`,
    '<plist version="1.0">',
    '<dict>',
    key('Label', 2),
    string(label, 2),
    key('ProgramArguments', 2),
    '  <array>',
    ...spec.argv.map((word) => string(word, 4)),
    '  </array>',
    key('EnvironmentVariables', 2),
    '  <dict>',
    ...environment,
    '  </dict>',
    key('RunAtLoad', 2),
    '  <true/>',
    key('KeepAlive', 2),
    '  <true/>',
    key('ThrottleInterval', 2),
    '  <integer>5</integer>',
    key('ExitTimeOut', 2),
    '  <integer>20</integer>',
    ...(spec.confidential === true ? CONFIDENTIAL : []),
    key('StandardOutPath', 2),
    string(log, 2),
    key('StandardErrorPath', 2),
    string(log, 2),
    '</dict>',
    '</plist>',
    ''
  ].join('\n')
}

/** Reads back what a LaunchAgent of ours starts, and the file that its output goes to. */
export function plistCommand(text: string): ServiceCommand & { log: string | undefined } {
  const strings = (xml = '') => [...xml.matchAll(/<string>([^<]*)<\/string>/g)].map(([, value]) => plain(value!))
  const after = (name: string, tag: string) =>
    new RegExp(`<key>${name}</key>\\s*<${tag}>([^]*?)</${tag}>`).exec(text)?.[1]
  const environment = after('EnvironmentVariables', 'dict') ?? ''
  const names = [...environment.matchAll(/<key>([^<]*)<\/key>/g)].map(([, name]) => plain(name!))
  const values = strings(environment)
  const log = after('StandardErrorPath', 'string')
  return {
    argv: strings(after('ProgramArguments', 'array')),
    env: Object.fromEntries(names.map((name, at) => [name, values[at]!])),
    log: log === undefined ? undefined : plain(log)
  }
}

// An octal 077.
const CONFIDENTIAL = [
  key('Umask', 2),
  '  <integer>63</integer>',
  key('HardResourceLimits', 2),
  '  <dict>',
  key('Core', 4),
  '    <integer>0</integer>',
  '  </dict>'
]

function key(name: string, indent: number): string {
  return `${' '.repeat(indent)}<key>${escaped(name)}</key>`
}

function string(value: string, indent: number): string {
  return `${' '.repeat(indent)}<string>${escaped(value)}</string>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function plain(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
}
