/** What the quickstart can be asked for on its command line. */
import { parseArgs } from 'node:util';

export const HELP = `usage: npm run quickstart -- [folder] [--json] [--help]

Counts words, headings and links of every Markdown file under a folder (of the first 5,000), with two worker processes.
The files are members of a flow, whose last member waits for all of them and adds up the report. One worker is killed
half way; the other takes over what it held.

  folder   where to look; default: the documentation of the installed packages (node_modules)
  --json   print the report as JSON; progress goes to the standard error output either way
  --help   this text

A server is started for it, with a Postgres of its own (or the one in DATABASE_URL). To use a server that runs
already, set TAILRACE_URL to its address.
`;

export interface Arguments {
  readonly folder: string;
  readonly json: boolean;
  readonly help: boolean;
}

/** Throws an error with a message for people. */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
  });
  if (positionals.length > 1) throw new Error(`one folder, please; got ${positionals.join(', ')}`);
  return { folder: positionals[0] ?? 'node_modules', ...values };
}
