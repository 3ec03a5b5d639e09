/** The shells that a script can be made for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** One of those shells. */
export type Shell = (typeof SHELLS)[number]

/** What may follow a command: the words after `openclaw` that lead there, and what can be typed next. */
export interface Words {
  path: readonly string[]
  words: readonly Word[]
}

/** One thing that can be typed. */
export interface Word {
  word: string
  summary: string
  /** For an option: what may be typed as its value; empty where anything may, undefined where it takes none. */
  values?: readonly string[]
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
    ({ path, words }) => `      '${path.join(' ')}') words='${words.map((w) => w.word).join(' ')}' ;;`
  )
  return `# bash completion for openclaw
_openclaw() {
  local current="\${COMP_WORDS[COMP_CWORD]}" at='' word words='' option='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    # Bash takes --option=value for three words.
    if [[ "$word" == '=' ]]; then continue; fi
    if [[ -n "$option" ]]; then option=''; continue; fi
    case "$at $word" in
      *' --profile'${valued(tree, ' | ')}) option="$at $word"; continue ;;
      *' -'*) continue ;;
    esac
    case "\${at:+$at }$word" in
${knownPaths(tree)
  .map((path) => `      '${path}') at='${path}' ;;`)
  .join('\n')}
    esac
  done
  if [[ "$current" == '=' ]]; then current=''; fi
  if [[ -n "$option" ]]; then
    case "$option" in
${choices(tree, 'words').join('\n')}
    esac
  else
    case "$at" in
${cases.join('\n')}
    esac
  fi
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
    return `      '${path.join(' ')}') commands=(${list(false)}) options=(${list(true)}) ;;`
  })
  return `#compdef openclaw
# zsh completion for openclaw
_openclaw() {
  local at='' word i skip=0
  local values=''
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    if ((skip)); then skip=0; continue; fi
    case "$at $word" in
      *' --profile'${valued(tree, ' | ')}) skip=1; continue ;;
      *' -'*) continue ;;
    esac
    case "\${at:+$at }$word" in
${knownPaths(tree)
  .map((path) => `      '${path}') at='${path}' ;;`)
  .join('\n')}
    esac
  done
  if ((skip)); then
    case "$at \${words[CURRENT-1]}" in
${choices(tree, 'values').join('\n')}
    esac
    if [[ -n "$values" ]]; then compadd -- \${=values}; else _files; fi
  else
    case "$at" in
${cases.join('\n')}
    esac
    _describe 'command' commands
    _describe -o 'option' options
    _files
  fi
}
compdef _openclaw openclaw`
}

function fish(tree: readonly Words[]): string {
  const lines = tree.flatMap(({ path, words }) =>
    words.map(({ word, summary, values }) => {
      // A value that may be anything may be a file.
      const value = values === undefined ? '' : values.length > 0 ? ` -x -a ${quote(values.join(' '))}` : ' -r -F'
      const what = word.startsWith('--') ? `-l ${word.slice(2)}${value}` : `-a ${word}`
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
    switch "$at $word"
      case '* --profile' ${valued(tree, ' ')}
        set skip 1
        continue
      case '* -*'
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

/** The options that the next word is the value of, as patterns for `COMMAND OPTION`. */
function valued(tree: readonly Words[], separator: string): string {
  const all = tree.flatMap(({ path, words }) =>
    words.filter(({ values }) => values !== undefined).map(({ word }) => `'${path.join(' ')} ${word}'`)
  )
  return separator === ' ' ? all.join(' ') : all.map((each) => separator + each).join('')
}

/** What to offer as the value of an option, one line for each that has a closed list. */
function choices(tree: readonly Words[], variable: string): string[] {
  return tree.flatMap(({ path, words }) =>
    words.flatMap(({ word, values }) =>
      values === undefined || values.length === 0
        ? []
        : [`      '${path.join(' ')} ${word}') ${variable}='${values.join(' ')}' ;;`]
    )
  )
}

function knownPaths(tree: readonly Words[]): string[] {
  return tree.map(({ path }) => path.join(' ')).filter((path) => path !== '')
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
