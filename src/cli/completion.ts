/** The shells that a script can be made for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** One of those shells. */
export type Shell = (typeof SHELLS)[number]

/** What may follow a command: the words after `openclaw` that lead there, and what can be typed next. */
export interface Words {
  path: readonly string[]
  words: readonly { word: string; summary: string }[]
}

/** The completion script of a shell, for a tree of commands. */
export function completionScript(shell: Shell, tree: readonly Words[]): string {
  switch (shell) {
    case 'bash':
      return bash(tree)
    case 'zsh':
      return zsh(tree)
    case 'fish':
      return fish(tree)
  }
}

// All three walk the words typed so far, as far as they name commands, and offer what may follow there.

function bash(tree: readonly Words[]): string {
  const cases = tree.map(
    ({ path, words }) => `    '${path.join(' ')}') words='${words.map((w) => w.word).join(' ')}' ;;`
  )
  return `# bash completion for openclaw
_openclaw() {
  local current="\${COMP_WORDS[COMP_CWORD]}" at='' word words='' i skip=0
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    if ((skip)); then skip=0; continue; fi
    case "$word" in --profile) skip=1; continue ;; -*) continue ;; esac
    case "\${at:+$at }$word" in
${knownPaths(tree)
  .map((path) => `      '${path}') at='${path}' ;;`)
  .join('\n')}
    esac
  done
  case "$at" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _openclaw openclaw`
}

function zsh(tree: readonly Words[]): string {
  const cases = tree.map(({ path, words }) => {
    const list = (options: boolean) =>
      words
        .filter(({ word }) => word.startsWith('-') === options)
        .map(({ word, summary }) => quote(`${word}${summary === '' ? '' : `:${summary}`}`))
        .join(' ')
    return `    '${path.join(' ')}') commands=(${list(false)}) options=(${list(true)}) ;;`
  })
  return `#compdef openclaw
# zsh completion for openclaw
_openclaw() {
  local at='' word i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    case "$word" in --profile) ((i++)); continue ;; -*) continue ;; esac
    case "\${at:+$at }$word" in
${knownPaths(tree)
  .map((path) => `      '${path}') at='${path}' ;;`)
  .join('\n')}
    esac
  done
  case "$at" in
${cases.join('\n')}
  esac
  _describe 'command' commands
  _describe -o 'option' options
  _files
}
compdef _openclaw openclaw`
}

function fish(tree: readonly Words[]): string {
  const lines = tree.flatMap(({ path, words }) =>
    words.map(({ word, summary }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
      const described = summary === '' ? '' : ` -d ${quote(summary)}`
      return `complete -c openclaw -n ${quote(`__openclaw_is ${path.join(' ')}`.trim())} ${what}${described}`
    })
  )
  return `# fish completion for openclaw
function __openclaw_is
  set -l at ''
  set -l skip 0
  set -l typed (commandline -opc)
  for word in $typed[2..-1]
    if test $skip = 1; set skip 0; continue; end
    switch $word
      case --profile
        set skip 1
        continue
      case '-*'
        continue
    end
    switch (string trim "$at $word")
${knownPaths(tree)
  .map((path) => `      case '${path}'\n        set at '${path}'`)
  .join('\n')}
    end
  end
  test "$at" = "$argv"
end
complete -c openclaw -f
${lines.join('\n')}`
}

function knownPaths(tree: readonly Words[]): string[] {
  return tree.map(({ path }) => path.join(' ')).filter((path) => path !== '')
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
