// What a shell does with these never depends on anything but themselves, quoted or not.
const PLAIN = /[\w@%+:,./-]/
const NAME = /^[\w./+-]+$/

/** Shell words that do something other than run a program of that name, in any shell that may go by `sh`. */
const builtins: ReadonlySet<string> = new Set(
  `. alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare
   dirs disown do done elif else enable esac eval exec exit export fc fg fi float for function functions getopts hash
   help history if in integer jobs kill let local logout mapfile nameref popd print printf pushd read readarray readonly
   redirect return select set shift shopt source suspend test then time times trap type typeset ulimit umask unalias
   unset until wait whence while`.split(/\s+/)
)

/**
 * Takes a shell script apart into the commands it runs, one argv each. Only what is certain is taken: plain commands,
 * quoted or not, in `&&`, `||`, `;`, `|` and lines. Anything else (expansions, redirections, assignments, built-in
 * words) gives undefined.
 */
export function commandsOf(script: string): string[][] | undefined {
  const commands: string[][] = [[]]
  let word: string | undefined
  const endWord = (): void => {
    if (word !== undefined) commands.at(-1)!.push(word)
    word = undefined
  }
  for (let at = 0; at < script.length; ) {
    const char = script[at]!
    const operator = /^(?:&&|\|\||[;|\n])/.exec(script.slice(at, at + 2))?.[0]
    if (char === "'" || char === '"') {
      const end = script.indexOf(char, at + 1)
      const quoted = script.slice(at + 1, end)
      if (end === -1 || (char === '"' && /[$`\\!]/.test(quoted))) return undefined
      word = (word ?? '') + quoted
      at = end + 1
    } else if (char === ' ' || char === '\t') {
      endWord()
      at++
    } else if (operator !== undefined) {
      endWord()
      commands.push([])
      at += operator.length
    } else if (PLAIN.test(char) || (char === '=' && word !== undefined && commands.at(-1)!.length > 0)) {
      word = (word ?? '') + char
      at++
    } else return undefined
  }
  endWord()
  const run = commands.filter((command) => command.length > 0)
  return run.length > 0 && run.every(isProgram) ? run : undefined
}

function isProgram([name = '']: readonly string[]): boolean {
  return NAME.test(name) && !name.startsWith('-') && !builtins.has(name)
}
