/** `tailrace profile …` */

import { confirmed, YES } from '../asking.js';
import { command, group } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { contentOf } from '../input.js';
import { document } from '../json.js';
import type { Profile } from '../profile-file.js';
import { ProfileFile } from '../profile-file.js';
import { argument, flag, text } from '../rules.js';
import type { Session } from '../session.js';
import { type Column, tableOf } from '../table.js';
import { UsageError } from '../usage-error.js';

const fileOf = ({ settings }: Session) => new ProfileFile(settings.directory);

const NAME = { name: argument('name', 'Name of the profile.') };

const add = command({
  name: 'add',
  about: 'Remember a server and how to get in, in place of what the profile said before.',
  details:
    'The first one is the one in use. --url, --namespace, --token-file, --ca, --cert and --key are what it remembers.',
  local: 'access',
  arguments: NAME,
  options: {
    tokenStdin: flag(
      'Read the secret of the token from standard input and keep it in the file, which only you can read.',
    ),
    tokenVariable: text('name', 'Take it from this variable of the environment.'),
    use: flag('Use it from now on.'),
  },
  examples: [
    [
      'With a token in a file of its own',
      'tailrace profile add prod --url https://tailrace.example:8233 --token-file ~/prod.token',
    ],
    [
      'With the token in the profile',
      'pass tailrace/prod | tailrace profile add prod --url https://tailrace.example:8233 --token-stdin',
    ],
  ],
  async run(session, { name, tokenStdin, tokenVariable, use }) {
    const { url, namespace, tokenFile, ca, cert, key } = session.flags;
    if ([tokenStdin || undefined, tokenVariable, tokenFile].filter((one) => one !== undefined).length > 1) {
      throw new UsageError('say one of --token-file, --token-stdin and --token-variable');
    }
    if (url === undefined || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new UsageError('say where the server is: --url https://host:8233');
    }
    const token = tokenStdin ? (await contentOf(session, '-')).toString('utf8').trim() : undefined;
    if (token === '') throw new UsageError('standard input held no secret');
    const profile: Profile = fields({ url, namespace, token, tokenFile, tokenVariable, ca, cert, key });
    const file = fileOf(session);
    const before = await file.read();
    const current = use ? name : (before.current ?? name);
    await file.write({ current, profiles: { ...before.profiles, [name]: profile } });
    session.output.note(`profile ${name} is in ${file.path}${current === name ? ', and in use' : ''}`);
    return undefined;
  },
});

interface Row {
  readonly name: string;
  readonly current: boolean;
  readonly profile: Profile;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'in use', of: ({ current }) => (current ? '*' : '') },
  { title: 'profile', of: ({ name }) => name },
  { title: 'url', of: ({ profile }) => profile.url ?? '' },
  { title: 'namespace', of: ({ profile }) => profile.namespace ?? '' },
  { title: 'token', flexible: true, of: ({ profile }) => tokenOf(profile) },
];

/** Never the secret. */
function tokenOf({ token, tokenFile, tokenVariable }: Profile): string {
  if (token !== undefined) return 'in the profile';
  return tokenFile ?? (tokenVariable === undefined ? '' : `$${tokenVariable}`);
}

const list = command({
  name: 'list',
  about: 'List the profiles, without secrets.',
  local: 'access',
  examples: [['All of them', 'tailrace profile list']],
  async run(session) {
    const { output } = session;
    const { current, profiles } = await fileOf(session).read();
    const rows = Object.entries(profiles).map(([name, profile]) => ({ name, current: name === current, profile }));
    if (output.json) {
      const items = rows.map(({ profile: { token, ...rest }, ...row }) => ({
        ...row,
        ...rest,
        hasToken: token !== undefined,
      }));
      await output.write(document({ items, nextPageToken: '' }));
    } else if (rows.length > 0) await output.write(tableOf(COLUMNS, rows, output));
    else output.note('none');
    return undefined;
  },
});

const use = command({
  name: 'use',
  about: 'Use a profile from now on.',
  local: 'access',
  arguments: NAME,
  examples: [['From now on', 'tailrace profile use prod']],
  async run(session, { name }) {
    const file = fileOf(session);
    const { profiles } = await file.read();
    if (!Object.hasOwn(profiles, name)) return missing(session, name);
    await file.write({ current: name, profiles });
    session.output.note(`profile ${name} is in use`);
    return undefined;
  },
});

const remove = command({
  name: 'remove',
  about: 'Forget a profile.',
  local: 'access',
  arguments: NAME,
  options: YES,
  examples: [['Without a question', 'tailrace profile remove old --yes']],
  async run(session, { name, yes }) {
    const file = fileOf(session);
    const { current, profiles } = await file.read();
    if (!Object.hasOwn(profiles, name)) return missing(session, name);
    if (!(await confirmed(session, yes, `Forget the profile ${name}?`))) return EXIT.refused;
    const { [name]: gone, ...others } = profiles;
    await file.write({ profiles: others, ...(current !== undefined && current !== name && { current }) });
    session.output.note(`profile ${name}${gone?.url ? ` of ${gone.url}` : ''} is forgotten`);
    return undefined;
  },
});

function missing({ output }: Session, name: string) {
  output.note(`there is no profile ${name}: tailrace profile list tells what there is`);
  return EXIT.notFound;
}

export const profile = group('profile', 'Remember servers and how to get in.', [add, list, use, remove]);
