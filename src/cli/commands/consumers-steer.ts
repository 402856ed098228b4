/** Consumers, stopped, let go, moved and rebuilt. */
import { RebuildConsumerResponseSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type Consumer, ConsumerSchema, ConsumerStateSchema } from '../../../gen/tailrace/v1/consumer_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { confirmed, YES } from '../asking.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { EXPECTED, REASON } from '../recurring-options.js';
import { argument, flag, large, past, text, whole } from '../rules.js';
import type { Session } from '../session.js';
import { done, present } from '../showing.js';
import { UsageError } from '../usage-error.js';

const CONSUMER = { consumer: argument('consumer', 'Name of the consumer.', { names: 'consumers' }) };

const sentence = ({ spec, state, version }: Consumer) =>
  `consumer ${spec?.name} is ${nameOf(ConsumerStateSchema, state)} (version ${version})`;

function place(from: string | undefined) {
  if (from === undefined) return {};
  if (from === 'earliest') return { start: StartPosition.EARLIEST };
  return from === 'latest' ? { start: StartPosition.LATEST } : { cursor: from };
}

export const pauseConsumer = command({
  name: 'pause',
  about: 'Stop a consumer at its present cursors. Entries in hand can still be committed.',
  arguments: CONSUMER,
  options: { ...REASON, ...EXPECTED },
  examples: [['While its target is down', 'tailrace consumers pause invoices --reason "the ledger is down"']],
  async run(session, { consumer, ...how }) {
    const asked = fields({ namespace: session.namespace, consumer, ...how });
    const made = present((await session.api.admin.pauseConsumer(asked, session.bounds())).consumer);
    return await done(session, ConsumerSchema, made, sentence(made));
  },
});

export const resumeConsumer = command({
  name: 'resume',
  about: 'Let a paused consumer go on, and a halted one try its entry again from the first try.',
  arguments: CONSUMER,
  options: { ...REASON, ...EXPECTED },
  examples: [['After the fix', 'tailrace consumers resume invoices']],
  async run(session, { consumer, ...how }) {
    const asked = fields({ namespace: session.namespace, consumer, ...how });
    const made = present((await session.api.admin.resumeConsumer(asked, session.bounds())).consumer);
    return await done(session, ConsumerSchema, made, sentence(made));
  },
});

export const resetConsumer = command({
  name: 'reset',
  about: 'Move a consumer to another place in the log; what lies between comes again, or never.',
  arguments: CONSUMER,
  options: {
    to: text('place', 'Where to: earliest, latest, or a cursor.'),
    since: past('Where to, as a time: before everything recorded from then on.'),
    ...REASON,
    ...EXPECTED,
    ...YES,
  },
  examples: [['Handle the last hour again', 'tailrace consumers reset invoices --since 1h --yes']],
  async run(session, { consumer, to, since, yes, ...how }) {
    if ((to === undefined) === (since === undefined)) throw new UsageError('say where to: --to or --since');
    if (!(await confirmed(session, yes, `Move the consumer ${consumer}?`))) return EXIT.refused;
    const asked = fields({ namespace: session.namespace, consumer, ...place(to), time: since, ...how });
    const made = present((await session.api.admin.resetConsumer(asked, session.bounds())).consumer);
    return await done(session, ConsumerSchema, made, sentence(made));
  },
});

export const rebuildConsumer = command({
  name: 'rebuild',
  about: 'Start a new generation beside the live one, which goes on until the new one is promoted.',
  arguments: CONSUMER,
  options: {
    from: text('place', 'Where it begins: earliest (default), latest, or a cursor.'),
    parts: whole('count', 'Its number of parts. Default as the live one.', 1, 256),
    promote: flag('Promote it once it has caught up.'),
    ...REASON,
    ...EXPECTED,
  },
  examples: [['Build a projection anew and switch over', 'tailrace consumers rebuild invoices --promote']],
  async run(session, { consumer, from, parts, promote, ...how }) {
    const asked = fields({
      namespace: session.namespace,
      consumer,
      ...place(from),
      partCount: parts,
      promoteWhenCaughtUp: promote,
      ...how,
    });
    const answer = await session.api.admin.rebuildConsumer(asked, session.bounds());
    const text = `consumer ${consumer} builds generation ${answer.generation}`;
    return await done(session, RebuildConsumerResponseSchema, answer, text);
  },
});

export const promoteConsumer = command({
  name: 'promote',
  about: 'Make the new generation of a consumer the live one.',
  arguments: CONSUMER,
  options: {
    generation: large('number', 'The generation to promote. Default: the one that is being built.'),
    ...REASON,
    ...EXPECTED,
  },
  examples: [['Once it has caught up', 'tailrace consumers promote invoices']],
  async run(session, { consumer, generation, ...how }) {
    const { namespace, api } = session;
    const chosen = generation ?? (await building(session, consumer));
    const asked = fields({ namespace, consumer, generation: chosen, ...how });
    const made = present((await api.admin.promoteConsumer(asked, session.bounds())).consumer);
    return await done(session, ConsumerSchema, made, `generation ${chosen} of consumer ${consumer} is live`);
  },
});

async function building(session: Session, consumer: string): Promise<bigint> {
  const asked = { namespace: session.namespace, consumer };
  const found = present((await session.api.admin.getConsumer(asked, session.bounds())).consumer);
  const fresh = found.generations.find(({ live }) => !live);
  if (!fresh)
    throw new UsageError(`no generation of ${consumer} is being built: tailrace consumers rebuild begins one`);
  return fresh.generation;
}
