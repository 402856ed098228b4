/**
 * The commands as commander parses them. Groups that the line does not name stay unread; commander then knows their names
 * alone, for the help and for "did you mean".
 */
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { type Entry, flagOf, type Group, type Leaf, type Node, type Rule } from './command.js';
import { EXIT_CODES } from './exit-codes.js';
import { COMMON } from './global-options.js';
import { UsageError } from './usage-error.js';

/** What the line asks for, once it is understood. */
export interface Asked {
  readonly leaf: Leaf;
  readonly given: Readonly<Record<string, unknown>>;
  readonly flags: Readonly<Record<string, unknown>>;
}

export interface ProgramOptions {
  readonly version: string;
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  readonly width: number | undefined;
  readonly onAsked: (asked: Asked) => void;
}

export async function programFor(
  catalog: readonly Entry[],
  words: readonly string[],
  options: ProgramOptions,
): Promise<Command> {
  const program = bare(new Command('tailrace'), options);
  program
    .description('Durable execution on Postgres: the server, and everything to operate it with.')
    .usage('[options] <command>')
    .version(options.version, '-v, --version', 'Show the version.')
    .helpCommand('help [command]', 'Explain a command.')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', afterHelp());
  for (const [key, rule] of Object.entries(COMMON)) program.addOption(optionOf(key, rule));
  program.helpOption('-h, --help', 'Explain this.');
  for (const { name, about, section, load } of catalog) {
    program.commandsGroup(`${section}:`);
    if (words.includes(name)) attach(program, await load(), program, options).summary(about);
    else bare(program.command(name), options).description(about);
  }
  return program;
}

function attach(parent: Command, node: Node, program: Command, options: ProgramOptions): Command {
  const made = bare(parent.command(node.name, { hidden: 'hidden' in node && node.hidden }), options);
  made.configureHelp({ showGlobalOptions: true });
  made.description(node.about);
  if ('members' in node) addMembers(made, node, program, options);
  else addLeaf(made, node, program, options);
  return made;
}

function addMembers(made: Command, group: Group, program: Command, options: ProgramOptions): void {
  made.usage('<command>').helpCommand(false).configureHelp({ showGlobalOptions: false });
  for (const member of group.members) attach(made, member, program, options);
}

function addLeaf(made: Command, leaf: Leaf, program: Command, { onAsked }: ProgramOptions): void {
  if (leaf.local === 'alone')
    made.configureHelp({ showGlobalOptions: true, visibleGlobalOptions: () => [jsonOption()] });
  if (leaf.details) made.description(`${leaf.about}\n\n${leaf.details}`).summary(leaf.about);
  for (const [, rule] of leaf.arguments) made.addArgument(argumentOf(rule));
  for (const [key, rule] of leaf.options) made.addOption(optionOf(key, rule));
  if (leaf.examples.length > 0) made.addHelpText('after', `\nExamples:\n${examplesOf(leaf)}`);
  made.action(() => {
    const options = leaf.options.map(([key, rule]) => [key, optionGiven(rule, made.opts()[key])]);
    const positional = leaf.arguments.map(([key, { initial }], index) => [key, made.processedArgs[index] ?? initial]);
    onAsked({ leaf, given: Object.fromEntries([...options, ...positional]), flags: program.opts() });
  });
}

/** An option that may stand alone is `true` then. */
function optionGiven(rule: Rule<unknown>, found: unknown): unknown {
  if (found === undefined) return rule.initial;
  return found === true && rule.value ? rule.parse('', undefined) : found;
}

/** Commander neither ends the process nor writes by itself. */
function bare(made: Command, { out, error, width }: ProgramOptions): Command {
  return made
    .exitOverride()
    .configureOutput({
      writeOut: out,
      writeErr: error,
      ...(width !== undefined && { getOutHelpWidth: () => width, getErrHelpWidth: () => width }),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showSuggestionAfterError(true)
    .helpOption('-h, --help', 'Explain this.');
}

function optionOf(key: string, rule: Rule<unknown>): Option {
  const flags = `${rule.short ? `${rule.short}, ` : ''}${flagOf(key)}${rule.value ? ` ${rule.value}` : ''}`;
  const option = new Option(flags, `${rule.about}${choicesOf(rule)}`);
  if (rule.value) option.argParser((text: string, before: unknown) => parsed(rule, text, before));
  if (rule.required) option.makeOptionMandatory();
  return option;
}

function jsonOption(): Option {
  return optionOf('json', COMMON.json);
}

function argumentOf(rule: Rule<unknown>): Argument {
  return new Argument(rule.value, `${rule.about}${choicesOf(rule)}`).argParser((text: string, before: unknown) =>
    parsed(rule, text, before),
  );
}

function parsed(rule: Rule<unknown>, text: string, before: unknown): unknown {
  try {
    return rule.parse(text, before);
  } catch (error) {
    throw error instanceof UsageError ? new InvalidArgumentError(error.message) : error;
  }
}

/** Long lists are for the completion of the shell. */
export function choicesOf({ choices = [] }: Rule<unknown>): string {
  return choices.length === 0 || choices.length > 15 ? '' : ` One of ${choices.join(', ')}.`;
}

export function examplesOf({ examples }: Leaf): string {
  return examples.map(([purpose, line]) => `  # ${purpose}\n  ${line}\n`).join('\n');
}

function afterHelp(): string {
  const codes = EXIT_CODES.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return `
Exit codes:
${codes.join('\n')}

Where the server is and who asks: flags, then TAILRACE_URL, TAILRACE_TOKEN, TAILRACE_TOKEN_FILE, TAILRACE_NAMESPACE and
TAILRACE_PROFILE, then the profile in use (tailrace profile add). The settings of a server: tailrace serve --settings.`;
}
