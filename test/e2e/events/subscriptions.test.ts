/** Subscriptions as operators make, change, list and delete them. */
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { DeadHeadPolicy } from '../../../gen/tailrace/v1/execution_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { SubscriptionSpecSchema } from '../../../gen/tailrace/v1/subscription_pb.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

const put = (subscription: object, more: object = {}) =>
  tailrace.admin.putSubscription({ subscription: { type: 'ship', ...subscription }, ...more });

async function told(namespace: string, kind: LogEntryKind): Promise<unknown[]> {
  const { entries } = await tailrace.admin.listLogEntries({ namespace, filter: { kinds: [kind] }, oldestFirst: true });
  return entries.map(({ subject, body }) => [subject, body.case === 'details' ? body.value['version'] : undefined]);
}

describe('PutSubscription', () => {
  it('keeps everything that was asked for, and answers it', async () => {
    const spec = create(SubscriptionSpecSchema, {
      name: 'full',
      filter: {
        kinds: [LogEntryKind.EVENT_PUBLISHED],
        eventTypes: ['order.paid'],
        streams: ['orders/1'],
        tags: { country: 'at' },
        flowId: '01890a5d-ac96-774b-bcce-b302099a8057',
      },
      payloadMatches: [{ pointer: '/order/a~1b', values: ['1', '2'] }],
      eventTypePrefixes: ['order.re'],
      streamPrefixes: ['orders/'],
      headers: { source: 'shop' },
      lane: 'shipping',
      type: 'ship',
      priority: -7,
      delay: seconds(2),
      ttl: seconds(30),
      deadline: seconds(60),
      attemptTimeout: seconds(5),
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: seconds(1),
        backoffFactor: 1.5,
        maxBackoff: seconds(9),
        countLostLeases: false,
      },
      requiredCapabilities: ['printer'],
      tags: { team: 'a' },
      orderingKey: { source: { case: 'pointer', value: '/order/id' } },
      deadHeadPolicy: DeadHeadPolicy.SKIP,
      optionalInFlow: true,
      failureEvents: [
        {
          reasons: [DeadLetterReason.PERMANENT],
          event: { type: 'ship.failed', payload: { contentType: 'application/json', ...text('{"a":1}') } },
        },
      ],
    });
    const { subscription, warnings } = await put(spec);
    expect(warnings).toEqual([]);
    expect(subscription).toMatchObject({
      namespace: 'default',
      version: 1n,
      backfilling: false,
      haltReason: '',
      openJoinCount: 0n,
    });
    expect(subscription?.spec).toEqual(spec);
    expect((await tailrace.admin.getSubscription({ subscription: 'full' })).subscription).toEqual(subscription);
  });

  it('raises the version with other content only, and is told as often', async () => {
    const namespace = 'versions';
    const version = async (spec: object, more: object = {}) =>
      (await put({ name: 'a', ...spec }, { namespace, ...more })).subscription?.version;
    expect(await version({ filter: { eventTypes: ['x', 'y'] } })).toBe(1n);
    expect(await version({ filter: { eventTypes: ['y', 'x', 'y'] }, lane: 'default' })).toBe(1n);
    expect(await version({ filter: { eventTypes: ['y', 'x'] }, start: StartPosition.EARLIEST })).toBe(1n);
    expect(await version({ filter: { eventTypes: ['y'] } }, { expectedVersion: 1n })).toBe(2n);
    expect(await refusal(version({}, { expectedVersion: 1n }))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { current_version: '2' },
    });
    expect(await refusal(put({ name: 'none' }, { namespace, expectedVersion: 3n }))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { current_version: '0' },
    });
    await eventually(async () => (await told(namespace, LogEntryKind.ADMIN_SUBSCRIPTION_UPDATED)).length >= 2);
    const updates = await told(namespace, LogEntryKind.ADMIN_SUBSCRIPTION_UPDATED);
    expect(updates).toEqual([
      ['a', 1],
      ['a', 2],
    ]);
  });

  it('refuses to add or take away ordering and batch joins', async () => {
    await put({ name: 'plain' });
    await put({ name: 'ordered', orderingKey: { source: { case: 'flow', value: true } } });
    await put({ name: 'joining', batchJoin: {} });
    const changes = [
      ['plain', { orderingKey: { source: { case: 'flow', value: true } } }, 'subscription.ordering_key'],
      ['ordered', {}, 'subscription.ordering_key'],
      ['plain', { batchJoin: {} }, 'subscription.batch_join'],
      ['joining', {}, 'subscription.batch_join'],
    ] as const;
    for (const [name, change, field] of changes) {
      const { reason, fieldViolations: violations } = await refusal(put({ name, ...change }));
      expect([reason, violations[0]?.field]).toEqual(['INVALID_FIELD', field]);
    }
    const changed = await put({ name: 'ordered', orderingKey: { source: { case: 'tag', value: 'customer' } } });
    expect(changed.subscription?.version).toBe(2n);
  });

  it('warns of what is probably not meant', async () => {
    const warnings = async (spec: object) => (await put({ name: 'odd', ...spec })).warnings.join('\n');
    expect(await warnings({})).toContain('admits every event');
    const types = { eventTypes: ['a'] };
    const matches = [
      { pointer: '/a', values: ['1', '2'] },
      { pointer: '/a', values: ['3'] },
    ];
    expect(await warnings({ filter: types, payloadMatches: matches })).toContain('matches nothing');
    expect(await warnings({ filter: { ...types, lanes: ['x'] } })).toContain('lanes are not looked at');
    expect(await warnings({ filter: types, delay: seconds(9), deadline: seconds(9) })).toContain('expires before');
    expect((await put({ name: 'even', filter: types })).warnings).toEqual([]);
  });

  it('names every violation at once', async () => {
    const { reason, fieldViolations: violations } = await refusal(
      put({
        name: '',
        type: '',
        priority: 1_001,
        payloadMatches: [{ pointer: 'a', values: [] }],
        headers: { '': 'x' },
        eventTypePrefixes: [''],
        concurrencyKey: { source: { case: 'flow', value: false } },
        orderingKey: {},
        cursor: 'x',
        start: StartPosition.LATEST,
      }),
    );
    expect(reason).toBe('INVALID_FIELD');
    expect(violations.map(({ field }) => field.replace('subscription.', ''))).toEqual(
      expect.arrayContaining([
        'name',
        'type',
        'priority',
        'payload_matches[0].pointer',
        'payload_matches[0].values',
        'headers[""]',
        'event_type_prefixes[0]',
        'concurrency_key.flow',
        'ordering_key.source',
      ]),
    );
    const other = await refusal(put({ name: 'x', filter: { kinds: [LogEntryKind.EXECUTION_FAILED] } }));
    expect(other.reason).toBe('UNIMPLEMENTED');
    expect((await refusal(put({ name: 'x', cursor: 'x' }))).reason).toBe('BAD_CURSOR');
  });
});

it('lists by name, lane and event type, and forgets what is deleted', async () => {
  const namespace = 'listed';
  const names = async (filter: object) => {
    const found: string[] = [];
    let pageToken = '';
    do {
      const page = await tailrace.admin.listSubscriptions({ namespace, pageSize: 2, pageToken, ...filter });
      found.push(...page.subscriptions.map(({ spec }) => spec?.name ?? ''));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return found;
  };
  await put({ name: 'c', filter: { eventTypes: ['order.paid'] } }, { namespace });
  await put({ name: 'a', lane: 'other', eventTypePrefixes: ['order.'] }, { namespace });
  await put({ name: 'b' }, { namespace });
  expect(await names({})).toEqual(['a', 'b', 'c']);
  expect(await names({ lane: 'other' })).toEqual(['a']);
  expect(await names({ eventType: 'order.paid' })).toEqual(['a', 'b', 'c']);
  expect(await names({ eventType: 'order.sent' })).toEqual(['a', 'b']);
  const conflict = tailrace.admin.deleteSubscription({ namespace, subscription: 'b', expectedVersion: 2n });
  expect((await refusal(conflict)).reason).toBe('VERSION_CONFLICT');
  expect((await tailrace.admin.deleteSubscription({ namespace, subscription: 'b' })).deleted).toBe(true);
  expect((await tailrace.admin.deleteSubscription({ namespace, subscription: 'b' })).deleted).toBe(false);
  expect(await names({})).toEqual(['a', 'c']);
  const gone = await refusal(tailrace.admin.getSubscription({ namespace, subscription: 'b' }));
  expect(gone.reason).toBe('SUBSCRIPTION_NOT_FOUND');
  await eventually(async () => (await told(namespace, LogEntryKind.ADMIN_SUBSCRIPTION_DELETED)).length > 0);
  expect(await told(namespace, LogEntryKind.ADMIN_SUBSCRIPTION_DELETED)).toEqual([['b', 1]]);
  expect((await put({ name: 'b' }, { namespace })).subscription?.version).toBe(1n);
});
