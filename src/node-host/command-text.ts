/** A command as a person reads it: words with spaces or double quotes in double quotes, everything else as it is. */
export function commandText(argv: readonly string[]): string {
  return argv.map((word) => (word === '' || /[\s"]/.test(word) ? `"${word.replaceAll('"', '\\"')}"` : word)).join(' ')
}

/** The text that a shell is told to run; undefined when the command is not one. */
export function shellPayload(argv: readonly string[]): string | undefined {
  const [program = '', flag = '', payload] = argv
  const name = program.slice(program.lastIndexOf('/') + 1)
  return /^(sh|bash|dash|zsh|ksh|ash|fish)$/.test(name) && /^-l?c$/.test(flag) ? payload : undefined
}

/** Reports whether a text that came beside a command says the same as the command. */
export function saysTheSame(raw: string, argv: readonly string[]): boolean {
  return raw === commandText(argv) || raw === shellPayload(argv)
}
