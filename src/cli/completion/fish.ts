/** The completion for fish: one line per word, each with the place it belongs to. */
import type { CompletedCommand, CompletedOption } from './words.js';

export function fishScript(commands: readonly CompletedCommand[]): string {
  return `# fish completion for tailrace; for every shell: tailrace completion fish > ~/.config/fish/completions/tailrace.fish
function __tailrace_at
    set -l at
    for word in (commandline -opc)[2..-1]
        switch "$at $word"
            case ${commands
              .filter(({ path }) => path.length > 0)
              .map(({ path }) => quoted(` ${path.join(' ')}`))
              .join(' ')}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end

complete -c tailrace -f
${commands.flatMap(linesOf).join('\n')}
`;
}

function linesOf({ path, subcommands, options, argument }: CompletedCommand): string[] {
  const at = path.length === 0 ? '' : ` ${path.join(' ')}`;
  const here = `complete -c tailrace -n ${quoted(`__tailrace_at ${quoted(at)}`)}`;
  return [
    ...subcommands.map(({ name, about }) => `${here} -a ${name} -d ${quoted(about)}`),
    ...options.map((option) => `${here} ${optionOf(option)}`),
    ...(argument?.names ? [`${here} -a ${quoted(`(tailrace completion names ${argument.names} 2>/dev/null)`)}`] : []),
    ...(argument?.file ? [`${here} -F`] : []),
  ];
}

function optionOf({ flags, about, value }: CompletedOption): string {
  const named = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`)).join(' ');
  return `${named} -d ${quoted(about)}${takenBy(value)}`;
}

function takenBy(value: CompletedOption['value']): string {
  if (!value || value.optional) return '';
  if (value.names) return ` -x -a ${quoted(`(tailrace completion names ${value.names} 2>/dev/null)`)}`;
  if (value.choices.length > 0) return ` -x -a ${quoted(value.choices.join(' '))}`;
  return value.file ? ' -r -F' : ' -x';
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
