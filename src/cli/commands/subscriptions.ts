/** `tailrace subscriptions …` */
import {
  DeleteSubscriptionResponseSchema,
  PutSubscriptionResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { LogEntryKindSchema } from '../../../gen/tailrace/v1/log_pb.js';
import {
  type Subscription,
  SubscriptionSchema,
  SubscriptionSpecSchema,
} from '../../../gen/tailrace/v1/subscription_pb.js';
import { confirmed, YES } from '../asking.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { documentOf } from '../input.js';
import { listed, PAGES } from '../pages.js';
import { EXPECTED } from '../recurring-options.js';
import { argument, text } from '../rules.js';
import { done, present, shown } from '../showing.js';
import type { Column } from '../table.js';
import { WATCH } from '../watching.js';

const SUBSCRIPTION = {
  subscription: argument('subscription', 'Name of the subscription.', { names: 'subscriptions' }),
};

const COLUMNS: readonly Column<Subscription>[] = [
  { title: 'subscription', of: ({ spec }) => spec?.name ?? '' },
  { title: 'matches', flexible: true, of: ({ spec }) => matchOf(spec) },
  { title: 'lane', flexible: true, of: ({ spec }) => spec?.lane || 'default' },
  { title: 'type', flexible: true, of: ({ spec }) => spec?.type ?? '' },
  { title: 'version', right: true, of: ({ version }) => version },
  { title: 'unrouted', right: true, of: ({ unroutedEventCount }) => unroutedEventCount },
  { title: 'halted', flexible: true, spare: true, of: ({ haltReason }) => haltReason },
  { title: 'changed', of: ({ updateTime }, output) => output.time(updateTime) },
];

function matchOf(spec: Subscription['spec']): string {
  const { eventTypes = [], kinds = [] } = spec?.filter ?? {};
  const prefixes = (spec?.eventTypePrefixes ?? []).map((prefix) => `${prefix}*`);
  const found = [...eventTypes, ...prefixes];
  return found.length > 0
    ? found.join(', ')
    : kinds.map((kind) => nameOf(LogEntryKindSchema, kind)).join(', ') || 'every event';
}

const list = command({
  name: 'list',
  about: 'List subscriptions by name.',
  options: {
    lane: text('lane', 'Only those into this lane.', { names: 'lanes' }),
    eventType: text('type', 'Only those that match events of this type.'),
    ...PAGES,
  },
  examples: [['Who is told of an event', 'tailrace subscriptions list --event-type order.placed']],
  run: (session, given) =>
    listed(session, given, SubscriptionSchema, COLUMNS, async (page) => {
      const asked = fields({ namespace: session.namespace, lane: given.lane, eventType: given.eventType, ...page });
      const { subscriptions: items, nextPageToken } = await session.api.admin.listSubscriptions(
        asked,
        session.bounds(),
      );
      return { items, nextPageToken };
    }),
});

const get = command({
  name: 'get',
  about: 'Show one subscription.',
  arguments: SUBSCRIPTION,
  options: WATCH,
  examples: [['As a document to edit', 'tailrace subscriptions get orders --json > orders.json']],
  run: (session, { subscription, watch }) => {
    const asked = { namespace: session.namespace, subscription };
    const fetch = async () => (await session.api.admin.getSubscription(asked, session.bounds())).subscription;
    return shown(session, SubscriptionSchema, fetch, { watch });
  },
});

const put = command({
  name: 'put',
  about: 'Make or change a subscription. A change applies to what is routed after it.',
  details: 'Reads a SubscriptionSpec in JSON, or what get --json has shown.',
  arguments: { file: argument('file', 'File with the document; - is standard input.', { file: true }) },
  options: EXPECTED,
  examples: [
    ['From a file', 'tailrace subscriptions put orders.json'],
    [
      'From the line',
      `echo '{"name":"orders","filter":{"eventTypes":["order.placed"]},"lane":"orders","type":"handle-order"}' | tailrace subscriptions put -`,
    ],
  ],
  async run(session, { file, expectedVersion }) {
    const subscription = await documentOf(session, SubscriptionSpecSchema, file);
    const asked = fields({ namespace: session.namespace, subscription, expectedVersion });
    const answer = await session.api.admin.putSubscription(asked, session.bounds());
    for (const warning of answer.warnings) session.output.note(`warning: ${warning}`);
    const made = present(answer.subscription);
    return await done(
      session,
      PutSubscriptionResponseSchema,
      answer,
      `subscription ${subscription.name} is at version ${made.version}`,
    );
  },
});

const remove = command({
  name: 'delete',
  about: 'Remove a subscription. What it started is left alone; its open joins expire.',
  arguments: SUBSCRIPTION,
  options: { ...EXPECTED, ...YES },
  examples: [['Without a question', 'tailrace subscriptions delete orders --yes']],
  async run(session, { subscription, expectedVersion, yes }) {
    if (!(await confirmed(session, yes, `Delete the subscription ${subscription}?`))) return EXIT.refused;
    const asked = fields({ namespace: session.namespace, subscription, expectedVersion });
    const answer = await session.api.admin.deleteSubscription(asked, session.bounds());
    const sentence = answer.deleted
      ? `subscription ${subscription} is deleted`
      : `there is no subscription ${subscription}`;
    return await done(session, DeleteSubscriptionResponseSchema, answer, sentence);
  },
});

export const subscriptions = group('subscriptions', 'The stored rules that turn events into executions.', [
  list,
  get,
  put,
  remove,
]);
