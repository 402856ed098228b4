/** The completion for bash, 3.2 and newer: one function that finds the command in the line, and tables of its words. */
import type { CompletedCommand, CompletedOption, CompletedValue } from './words.js';

export function bashScript(commands: readonly CompletedCommand[]): string {
  return `# bash completion for tailrace; source it: source <(tailrace completion bash)
_tailrace_names() {
  tailrace completion names "$1" 2>/dev/null
}

_tailrace_words() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$1" -- "$2"))
}

_tailrace() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" word index
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "$path $word" in
${commands
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `      " ${path.join(' ')}") path=" ${path.join(' ')}" ;;`)
  .join('\n')}
    esac
  done
  COMPREPLY=()
  case "$path $previous" in
${commands.flatMap((command) => command.options.flatMap((option) => valueCase(command, option))).join('\n')}
  esac
  case "$path" in
${commands.map(wordsCase).join('\n')}
  esac
}

complete -o default -F _tailrace tailrace
`;
}

/** A value that is free text is the shell's business: it completes files. */
function valueCase({ path }: CompletedCommand, { flags, value }: CompletedOption): string[] {
  if (!value || value.optional) return [];
  const patterns = flags.map((flag) => `"${[' ', ...path.flatMap((word) => [word, ' '])].join('').trimEnd()} ${flag}"`);
  return [`    ${patterns.join(' | ')}) ${replyOf(value)}; return ;;`];
}

function wordsCase({ path, subcommands, options, argument }: CompletedCommand): string {
  const flags = options.flatMap((option) => option.flags);
  const name = path.length === 0 ? '""' : `" ${path.join(' ')}"`;
  const words = quoted([...subcommands.map(({ name }) => name), ...(argument?.choices ?? [])]);
  const given = argument?.names ? replyOf(argument) : `_tailrace_words ${words} "$current"`;
  return `    ${name})
      if [[ "$current" == -* ]]; then _tailrace_words ${quoted(flags)} "$current"; else ${given}; fi ;;`;
}

function replyOf({ choices, names }: CompletedValue): string {
  if (names) return `_tailrace_words "$(_tailrace_names ${names})" "$current"`;
  return choices.length > 0 ? `_tailrace_words ${quoted(choices)} "$current"` : ':';
}

/** Words of a-z, digits and hyphens: nothing in them means anything to the shell. */
function quoted(words: readonly string[]): string {
  return `$'${words.join('\\n')}'`;
}
