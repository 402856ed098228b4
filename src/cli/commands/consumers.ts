/** `tailrace consumers …` */
import {
  type Consumer,
  ConsumerSchema,
  ConsumerSpecSchema,
  ConsumerStateSchema,
} from '../../../gen/tailrace/v1/consumer_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { documentOf } from '../input.js';
import { listed, PAGES } from '../pages.js';
import { EXPECTED } from '../recurring-options.js';
import { argument, choices } from '../rules.js';
import { done, present, shown } from '../showing.js';
import type { Column } from '../table.js';
import { WATCH } from '../watching.js';
import { pauseConsumer, promoteConsumer, rebuildConsumer, resetConsumer, resumeConsumer } from './consumers-steer.js';

const live = ({ generations }: Consumer) => generations.find(({ live }) => live);

const COLUMNS: readonly Column<Consumer>[] = [
  { title: 'consumer', flexible: true, of: ({ spec }) => spec?.name ?? '' },
  { title: 'state', state: true, of: ({ state }) => nameOf(ConsumerStateSchema, state) },
  { title: 'lag', right: true, of: (is) => `${live(is)?.lag ?? 0n}${live(is)?.lagCapped ? '+' : ''}` },
  { title: 'behind', right: true, of: (is, output) => output.span(live(is)?.lagAge) },
  { title: 'parts', right: true, of: (is) => live(is)?.partCount ?? 0 },
  { title: 'parked', right: true, of: (is) => live(is)?.parkedCount ?? 0n },
  { title: 'generation', right: true, of: (is) => live(is)?.generation ?? 0n },
  {
    title: 'rebuilding',
    right: true,
    spare: true,
    of: (is) => is.generations.find((one) => !one.live)?.generation ?? '',
  },
  { title: 'version', right: true, of: ({ version }) => version },
  { title: 'reason', flexible: true, spare: true, of: ({ stateReason }) => stateReason },
];

const list = command({
  name: 'list',
  about: 'List consumers by name, with how far they are behind.',
  options: { state: choices(ConsumerStateSchema, 'Only consumers in this state.'), ...PAGES },
  examples: [['Those that stand still', 'tailrace consumers list --state halted,paused']],
  run: (session, given) =>
    listed(session, given, ConsumerSchema, COLUMNS, async (page) => {
      const asked = { namespace: session.namespace, states: [...given.state], ...page };
      const { consumers: items, nextPageToken } = await session.api.admin.listConsumers(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

const get = command({
  name: 'get',
  about: 'Show one consumer with its parts, owners and last errors.',
  arguments: { consumer: argument('consumer', 'Name of the consumer.', { names: 'consumers' }) },
  options: WATCH,
  examples: [['Until Ctrl-C', 'tailrace consumers get invoices --watch']],
  run: (session, { consumer, watch }) => {
    const asked = { namespace: session.namespace, consumer };
    const fetch = async () => (await session.api.admin.getConsumer(asked, session.bounds())).consumer;
    return shown(session, ConsumerSchema, fetch, { watch });
  },
});

const put = command({
  name: 'put',
  about: 'Make or change a consumer.',
  details: 'Reads a ConsumerSpec in JSON, or what get --json has shown.',
  arguments: { file: argument('file', 'File with the document; - is standard input.', { file: true }) },
  options: EXPECTED,
  examples: [
    [
      'From the line',
      `echo '{"name":"invoices","partCount":4,"poisonPolicy":"POISON_POLICY_PARK"}' | tailrace consumers put -`,
    ],
  ],
  async run(session, { file, expectedVersion }) {
    const consumer = await documentOf(session, ConsumerSpecSchema, file);
    const asked = fields({ namespace: session.namespace, consumer, expectedVersion });
    const made = present((await session.api.admin.putConsumer(asked, session.bounds())).consumer);
    return await done(session, ConsumerSchema, made, `consumer ${consumer.name} is at version ${made.version}`);
  },
});

export const consumers = group('consumers', 'The durable followers of the log.', [
  list,
  get,
  put,
  pauseConsumer,
  resumeConsumer,
  resetConsumer,
  rebuildConsumer,
  promoteConsumer,
]);
