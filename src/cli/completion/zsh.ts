/** The completion for zsh: a function for the file _tailrace in a directory of fpath. */
import type { CompletedCommand, CompletedOption, CompletedValue } from './words.js';

export function zshScript(commands: readonly CompletedCommand[]): string {
  return `#compdef tailrace
# zsh completion for tailrace; for every shell: tailrace completion zsh > "\${fpath[1]}/_tailrace"
_tailrace_names() {
  local -a found
  found=(\${(f)"$(tailrace completion names "$1" 2>/dev/null)"})
  compadd -a found
}

_tailrace() {
  local current="\${words[CURRENT]}" previous="\${words[CURRENT-1]}" at="" word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
${commands
  .filter(({ path }) => path.length > 0)
  .map(({ path }) => `      ${pattern(path)}) at=${pattern(path)} ;;`)
  .join('\n')}
    esac
  done
  case "$at $previous" in
${commands.flatMap((command) => command.options.flatMap((option) => valueCase(command, option))).join('\n')}
  esac
  case "$at" in
${commands.map(wordsCase).join('\n')}
  esac
}

if [ "$funcstack[1]" = "_tailrace" ]; then _tailrace "$@"; else compdef _tailrace tailrace; fi
`;
}

function pattern(path: readonly string[]): string {
  return path.length === 0 ? '""' : quoted(` ${path.join(' ')}`);
}

function valueCase({ path }: CompletedCommand, { flags, value }: CompletedOption): string[] {
  if (!value || value.optional) return [];
  const at = path.length === 0 ? '' : ` ${path.join(' ')}`;
  return [`    ${flags.map((flag) => quoted(`${at} ${flag}`)).join(' | ')}) ${replyOf(value)}; return ;;`];
}

function wordsCase({ path, subcommands, options, argument }: CompletedCommand): string {
  const flags = options.map((option) => described(option.flags[0] ?? '', option.about));
  const names = subcommands.map(({ name, about }) => described(name, about));
  const given =
    names.length > 0 ? `found=(${names.join(' ')}); _describe command found` : argument ? replyOf(argument) : ':';
  return `    ${pattern(path)})
      if [[ "$current" == -* ]]; then found=(${flags.join(' ')}); _describe option found; else ${given}; fi ;;`;
}

function replyOf({ choices, names, file }: CompletedValue): string {
  if (names) return `_tailrace_names ${names}`;
  if (choices.length > 0) return `compadd -- ${choices.join(' ')}`;
  return file ? '_files' : ':';
}

function described(word: string, about: string): string {
  return quoted(`${word.replaceAll(':', '\\:')}:${about}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
