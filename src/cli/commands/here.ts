/** The commands that are this machine's: main does them. Their settings come from the environment. */
import { command } from '../command.js';
import { EXIT } from '../exit-codes.js';
import type { Setting } from '../host.js';
import { document } from '../json.js';
import { flag } from '../rules.js';

export const serve = command({
  name: 'serve',
  about: 'Serve the API on one port; without DATABASE_URL it brings its own Postgres.',
  details: 'Takes its settings from the environment: tailrace serve --settings lists them.',
  local: 'alone',
  options: { settings: flag('Only list every setting, with its meaning.') },
  examples: [
    ['With the Postgres it brings along', 'tailrace serve'],
    ['On a database of yours', 'DATABASE_URL=postgres://user:password@host/name tailrace serve'],
    ['What can be set', 'tailrace serve --settings'],
  ],
  async run({ host, output, interruption }, { settings }) {
    if (settings) {
      const known = await host.settings();
      await output.write(output.json ? document(known) : settingsTable(known));
      return undefined;
    }
    interruption.close(); // the server answers signals itself
    await host.serve((text) => void output.write(text));
    return EXIT.ok;
  },
});

export const migrate = command({
  name: 'migrate',
  about: "Bring the database's schema up to this version and end.",
  local: 'alone',
  examples: [['Before new servers start', 'DATABASE_URL=postgres://… tailrace migrate']],
  async run({ host, output }) {
    const applied = await host.migrate();
    const text = applied.length === 0 ? 'nothing to do: the schema is up to date' : `applied ${applied.join(', ')}`;
    await output.write(output.json ? document({ applied }) : text);
    return undefined;
  },
});

export const bootstrap = command({
  name: 'bootstrap',
  about: 'Make the first admin token, for all namespaces, and print its secret.',
  details:
    'Works on the database: whoever reaches that may get in. Makes none where there is an admin token of all namespaces.',
  local: 'alone',
  options: { again: flag('Make another one also then: the others are lost.') },
  examples: [['Into a file', 'DATABASE_URL=postgres://… tailrace bootstrap > admin.token']],
  async run({ host, output }, { again }) {
    const secret = await host.bootstrap(again);
    if (output.json) await output.write(document({ secret: secret ?? null }));
    else if (secret !== undefined) await output.write(secret);
    if (secret === undefined) output.note('there is an admin token already: tailrace tokens create makes others');
    return secret === undefined ? EXIT.refused : EXIT.ok;
  },
});

export const restored = command({
  name: 'restored',
  about: 'Tell the log that it was restored from a backup, before the first server starts on it.',
  details:
    'Cursors from before are good up to where the backup ends; who has seen more is refused instead of missing what is written ' +
    'in its place. Refused while servers are connected.',
  local: 'alone',
  examples: [['After pg_restore', 'DATABASE_URL=postgres://… tailrace restored']],
  async run({ host, output }) {
    const { incarnation, head } = await host.restored();
    const text = `the log goes on as ${incarnation}; cursors from before are good up to position ${head}`;
    await output.write(output.json ? document({ incarnation, head: String(head) }) : text);
    return undefined;
  },
});

function settingsTable(settings: readonly Setting[]): string {
  const width = Math.max(...settings.map(({ name }) => name.length));
  return settings.map(({ name, about }) => `${name.padEnd(width)}  ${about}`).join('\n');
}
