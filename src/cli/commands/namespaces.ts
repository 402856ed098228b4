/** `tailrace namespaces …` */
import { durationMs } from '@bufbuild/protobuf/wkt';
import { type Namespace, NamespaceSchema } from '../../../gen/tailrace/v1/namespace_pb.js';
import { byteText } from '../byte-text.js';
import { command, group } from '../command.js';
import { fields } from '../fields.js';
import { collect, listed, PAGES } from '../pages.js';
import { EXPECTED } from '../recurring-options.js';
import { argument, flag, large, span, text, whole } from '../rules.js';
import type { Session } from '../session.js';
import { done, present } from '../showing.js';
import { spanText } from '../spans.js';
import type { Column } from '../table.js';
import { UsageError } from '../usage-error.js';

const kept = (key: 'executions' | 'log' | 'closedDeadLetters') => ({
  title: key === 'closedDeadLetters' ? 'dead letters' : key,
  right: true,
  of: ({ settings }: Namespace) => {
    const span = settings?.retention?.[key];
    return span ? spanText(durationMs(span)) : 'forever';
  },
});

const COLUMNS: readonly Column<Namespace>[] = [
  { title: 'namespace', of: ({ namespace }) => namespace },
  { title: 'description', flexible: true, spare: true, of: ({ description }) => description },
  kept('executions'),
  kept('log'),
  kept('closedDeadLetters'),
  { title: 'payload', right: true, of: ({ settings }) => byteText(settings?.maxPayloadBytes ?? 0n) },
  { title: 'hops', right: true, of: ({ settings }) => settings?.maxHops ?? 0 },
  { title: 'version', right: true, of: ({ version }) => version },
  { title: 'created', of: ({ createTime }, output) => output.time(createTime) },
];

async function page(session: Session, namespace: string, bounds: { pageSize: number; pageToken: string }) {
  const asked = { namespace, ...bounds };
  const { namespaces: items, nextPageToken } = await session.api.admin.listNamespaces(asked, session.bounds());
  return { items, nextPageToken };
}

const list = command({
  name: 'list',
  about: 'List namespaces with how long each keeps what has ended.',
  options: PAGES,
  examples: [['All of them', "tailrace namespaces list -n '*' --all"]],
  run: (session, given) =>
    listed(session, given, NamespaceSchema, COLUMNS, (bounds) => page(session, session.namespace, bounds)),
});

const put = command({
  name: 'put',
  about: 'Make a namespace, or change settings of one.',
  details: 'Settings that are not named stay as they are; with --reset they take their defaults.',
  arguments: { name: argument('name', 'Name of the namespace.', { names: 'namespaces' }) },
  options: {
    description: text('text', 'For people.'),
    keepExecutions: span('How long executions that have ended are kept.'),
    keepLog: span('How long the log is kept.'),
    keepDeadLetters: span('How long closed dead letters are kept.'),
    keepEventIds: span('How long event ids that are no UUIDv7 are remembered.'),
    eventIdsForever: flag('They are remembered for ever.'),
    maxPayloadBytes: large('bytes', 'Largest payload.'),
    maxHops: whole('count', 'Longest chain of events.', 1, 1_000),
    reset: flag('Settings that are not named take their defaults.'),
    ...EXPECTED,
  },
  examples: [
    ['A new one', 'tailrace namespaces put acme --description "Acme Inc."'],
    ['Keep what has ended for a week', 'tailrace namespaces put acme --keep-executions 7d --keep-log 7d'],
  ],
  async run(session, given) {
    if (given.eventIdsForever && given.keepEventIds)
      throw new UsageError('--keep-event-ids and --event-ids-forever contradict each other');
    const before = given.reset ? undefined : await existing(session, given.name);
    const retention = before?.settings?.retention;
    const forever = given.keepEventIds ? false : given.eventIdsForever || retention?.eventIdsForever === true;
    const asked = fields({
      namespace: given.name,
      description: given.description ?? before?.description,
      settings: fields({
        retention: fields({
          executions: given.keepExecutions ?? retention?.executions,
          log: given.keepLog ?? retention?.log,
          closedDeadLetters: given.keepDeadLetters ?? retention?.closedDeadLetters,
          eventIds: forever ? undefined : (given.keepEventIds ?? retention?.eventIds),
          eventIdsForever: forever,
        }),
        maxPayloadBytes: given.maxPayloadBytes ?? before?.settings?.maxPayloadBytes,
        maxHops: given.maxHops ?? before?.settings?.maxHops,
      }),
      // What was not named is written back, so nobody may have changed it meanwhile.
      expectedVersion: given.expectedVersion ?? before?.version,
    });
    const made = present((await session.api.admin.putNamespace(asked, session.bounds())).namespace);
    return await done(session, NamespaceSchema, made, `namespace ${made.namespace} is at version ${made.version}`);
  },
});

/** Listed as the token may see it, whatever namespace the command is in. */
async function existing(session: Session, name: string): Promise<Namespace | undefined> {
  const { items } = await collect({ all: true, limit: undefined, pageToken: undefined }, (bounds) =>
    page(session, '', bounds),
  );
  return items.find(({ namespace }) => namespace === name);
}

export const namespaces = group('namespaces', 'The tenants and their settings.', [list, put]);
