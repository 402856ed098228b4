/** `tailrace completion …` */
import { command, group, type NameKind } from '../command.js';
import { bashScript } from '../completion/bash.js';
import { fishScript } from '../completion/fish.js';
import { completedCommands } from '../completion/words.js';
import { zshScript } from '../completion/zsh.js';
import { EXIT } from '../exit-codes.js';
import { argument } from '../rules.js';
import type { Session } from '../session.js';

const bash = command({
  name: 'bash',
  about: 'Print the completion for bash.',
  local: 'alone',
  examples: [['For this shell', 'source <(tailrace completion bash)']],
  async run({ output, catalog }) {
    await output.write(bashScript(await completedCommands(catalog)));
    return undefined;
  },
});

const zsh = command({
  name: 'zsh',
  about: 'Print the completion for zsh.',
  local: 'alone',
  examples: [['For every shell from now on', 'tailrace completion zsh > "$HOME/.zfunc/_tailrace"']],
  async run({ output, catalog }) {
    await output.write(zshScript(await completedCommands(catalog)));
    return undefined;
  },
});

const fish = command({
  name: 'fish',
  about: 'Print the completion for fish.',
  local: 'alone',
  examples: [['For every shell from now on', 'tailrace completion fish > ~/.config/fish/completions/tailrace.fish']],
  async run({ output, catalog }) {
    await output.write(fishScript(await completedCommands(catalog)));
    return undefined;
  },
});

/** As many as fit a menu. */
const MOST = 200;
const PAGE = { pageSize: MOST };

/** What the scripts ask while somebody waits for the names: quick, and silent when it cannot. */
const names = command({
  name: 'names',
  about: 'Print names that the server knows, one per line; for the scripts.',
  arguments: { kind: argument('kind', 'lanes, consumers, namespaces, subscriptions, budgets or workers.') },
  hidden: true,
  examples: [],
  async run(session, { kind }) {
    const found = await namesOf(session, kind as NameKind).catch(() => []);
    await session.output.write([...new Set(found)].join('\n'));
    return EXIT.ok;
  },
});

async function namesOf(session: Session, kind: NameKind): Promise<string[]> {
  const { admin } = session.api;
  const asked = { namespace: session.namespace, ...PAGE };
  const bounds = { ...session.bounds(), timeoutMs: 2_000 };
  switch (kind) {
    case 'lanes':
      return (await admin.listLanes(asked, bounds)).lanes.map(({ lane }) => lane);
    case 'consumers':
      return (await admin.listConsumers(asked, bounds)).consumers.map(({ spec }) => spec?.name ?? '');
    case 'namespaces':
      return (await admin.listNamespaces(asked, bounds)).namespaces.map(({ namespace }) => namespace);
    case 'subscriptions':
      return (await admin.listSubscriptions(asked, bounds)).subscriptions.map(({ spec }) => spec?.name ?? '');
    case 'budgets':
      return (await admin.listBudgets(asked, bounds)).budgets.map(({ spec }) => spec?.name ?? '');
    case 'workers':
      return (await admin.listWorkers(asked, bounds)).workers.map(({ identity }) => identity?.name ?? '');
    default:
      return [];
  }
}

export const completion = group('completion', 'Completion for bash, zsh and fish.', [bash, zsh, fish, names]);
