/** The reference of the command line, written from the commands themselves. */
import { CATALOG } from '../../../src/cli/catalog.js';
import { flagOf, type Leaf, leavesOf, type Rule } from '../../../src/cli/command.js';
import { EXIT_CODES } from '../../../src/cli/exit-codes.js';
import { COMMON } from '../../../src/cli/global-options.js';
import { CLIENT_SETTINGS } from '../../../src/config/client.js';

const INTRODUCTION = `# The command line

\`tailrace\` is the server and everything to operate it with. \`tailrace --help\` lists the commands, \`tailrace <command> --help\`
explains one with examples. This page is made from the program; a test holds it to that.

Results go to standard output, notes and errors to standard error. On a terminal tables fit its width, and what is cut ends
with …; in a pipe nothing is cut. Times are relative unless \`--absolute\` is given.

## For programs

- \`--json\` answers in the JSON form of the API's messages: one document; a list is \`{"items": […], "nextPageToken": "…"}\`;
  a tail is one document per line. Numbers of 64 bits are texts in it. Errors are JSON as well, on standard error:
  \`{"error": {"code", "reason", "message", "metadata", "retryDelayMs", "violations", "advice", "exitCode"}}\`.
- Lists show 50; \`--limit\`, \`--page-token\` and \`--all\` show others.
- Where a question would be asked, \`--yes\` answers it; without a terminal a command that would ask is refused.
- Contents are given as \`--input '{"a":1}'\`, \`--input-file path\` or \`--input-file -\` for standard input.
- Times are RFC 3339, or how long ago (\`2h\`), or from now (\`+10m\`).
`;

export async function reference(): Promise<string> {
  const sections = [...new Set(CATALOG.map(({ section }) => section))];
  const parts = await Promise.all(sections.map(sectionOf));
  return [INTRODUCTION, exitCodes(), access(), globalOptions(), ...parts].join('\n');
}

function exitCodes(): string {
  return `## Exit codes\n\n| code | meaning |\n|---|---|\n${EXIT_CODES.map(([code, meaning]) => `| ${code} | ${cell(meaning)} |\n`).join('')}`;
}

function access(): string {
  const settings = Object.entries(CLIENT_SETTINGS).map(([name, about]) => `| \`${name}\` | ${cell(about)} |\n`);
  return `## Where the server is, and who asks

Flags come first, then a profile chosen by \`--profile\`, then the environment, then the profile in use. Profiles are in
\`\${XDG_CONFIG_HOME:-~/.config}/tailrace/config.json\`, which only its owner can read (\`tailrace profile add\`). The token of a
profile is never sent to an address that comes from elsewhere.

| variable | meaning |
|---|---|
${settings.join('')}`;
}

function globalOptions(): string {
  return `## Options of every command\n\n${optionsTable(Object.entries(COMMON))}`;
}

async function sectionOf(section: string): Promise<string> {
  const nodes = await Promise.all(CATALOG.filter((entry) => entry.section === section).map(({ load }) => load()));
  const leaves = leavesOf(nodes).filter(({ leaf }) => !leaf.hidden);
  return `## ${section}\n\n${leaves.map(({ path, leaf }) => leafOf(path, leaf)).join('\n')}`;
}

function leafOf(path: readonly string[], leaf: Leaf): string {
  const words = [...path, ...leaf.arguments.map(([, { value }]) => value)].join(' ');
  const examples = leaf.examples.map(([purpose, line]) => `# ${purpose}\n${line}`).join('\n\n');
  return [
    `### tailrace ${path.join(' ')}\n`,
    `${leaf.about}${leaf.details ? `\n\n${leaf.details}` : ''}\n`,
    `\`tailrace ${words}\`\n`,
    ...(leaf.options.length > 0 ? [optionsTable(leaf.options)] : []),
    `\`\`\`sh\n${examples}\n\`\`\`\n`,
  ].join('\n');
}

function optionsTable(options: readonly (readonly [string, Rule<unknown>])[]): string {
  const rows = options.map(([key, rule]) => {
    const flags = [rule.short, flagOf(key)].filter((flag) => flag !== undefined).join(', ');
    const choices = rule.choices && rule.choices.length > 0 ? ` One of ${rule.choices.join(', ')}.` : '';
    const required = rule.required ? ' Required.' : '';
    return `| \`${flags}${rule.value && ` ${rule.value}`}\` | ${cell(rule.about + choices + required)} |\n`;
  });
  return `| option | |\n|---|---|\n${rows.join('')}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
