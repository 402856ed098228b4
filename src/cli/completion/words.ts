/** What a shell can complete: of every command its subcommands, its options, and what those take. */
import { type Entry, flagOf, type NameKind, type Node, type Rule } from '../command.js';
import { COMMON } from '../global-options.js';

export interface CompletedOption {
  /** `--state`, and `-w` where there is a short one. */
  readonly flags: readonly string[];
  readonly about: string;
  readonly value: CompletedValue | undefined;
}

/** What comes after an option, or as an argument. */
export interface CompletedValue {
  readonly choices: readonly string[];
  readonly names: NameKind | undefined;
  readonly file: boolean;
  /** The option stands alone as well. */
  readonly optional: boolean;
}

export interface CompletedCommand {
  /** Words after `tailrace`; none for itself. */
  readonly path: readonly string[];
  readonly about: string;
  readonly subcommands: readonly { readonly name: string; readonly about: string }[];
  readonly options: readonly CompletedOption[];
  /** Of the first argument. */
  readonly argument: CompletedValue | undefined;
}

export async function completedCommands(catalog: readonly Entry[]): Promise<CompletedCommand[]> {
  const nodes = await Promise.all(catalog.map(({ load }) => load()));
  const top: CompletedCommand = {
    path: [],
    about: '',
    subcommands: catalog.map(({ name, about }) => ({ name, about })),
    options: [...commonOptions(), { flags: ['--version'], about: 'Show the version.', value: undefined }],
    argument: undefined,
  };
  return [top, ...nodes.flatMap((node) => completed(node, []))];
}

function completed(node: Node, before: readonly string[]): CompletedCommand[] {
  const path = [...before, node.name];
  if ('members' in node) {
    const members = node.members.filter((member) => !('hidden' in member && member.hidden));
    const subcommands = members.map(({ name, about }) => ({ name, about }));
    const own = { path, about: node.about, subcommands, options: commonOptions(), argument: undefined };
    return [own, ...members.flatMap((member) => completed(member, path))];
  }
  const options = [...optionsOf(node.options), ...commonOptions()];
  const first = node.arguments[0]?.[1];
  return [{ path, about: node.about, subcommands: [], options, argument: first && completedValue(first) }];
}

function commonOptions(): CompletedOption[] {
  return [...optionsOf(Object.entries(COMMON)), { flags: ['--help', '-h'], about: 'Explain this.', value: undefined }];
}

function optionsOf(rules: readonly (readonly [string, Rule<unknown>])[]): CompletedOption[] {
  return rules.map(([key, rule]) => ({
    flags: [flagOf(key), ...(rule.short ? [rule.short] : [])],
    about: rule.about,
    value: rule.value ? completedValue(rule) : undefined,
  }));
}

function completedValue({ choices = [], names, file = false, value }: Rule<unknown>): CompletedValue {
  return { choices, names, file, optional: value.startsWith('[') };
}
