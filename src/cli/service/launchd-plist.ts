import { join } from 'node:path'
import { MARK, refuseControls, type ServiceSpec } from './service.ts'

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
    key('StandardOutPath', 2),
    string(log, 2),
    key('StandardErrorPath', 2),
    string(log, 2),
    '</dict>',
    '</plist>',
    ''
  ].join('\n')
}

function key(name: string, indent: number): string {
  return `${' '.repeat(indent)}<key>${escaped(name)}</key>`
}

function string(value: string, indent: number): string {
  return `${' '.repeat(indent)}<string>${escaped(value)}</string>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
