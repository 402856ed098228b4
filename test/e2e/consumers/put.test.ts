/** Consumers as operators put, find and change them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConsumerState, PoisonPolicy, SplitKey } from '../../../gen/tailrace/v1/consumer_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { Client, TailraceError } from '../../../src/client/index.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

let made = 0;
const fresh = () => `consumer ${++made}`;
const fieldsOf = async (call: Promise<unknown>) => (await refusal(call)).fieldViolations.map(({ field }) => field);
const put = async (consumer: { name: string; [field: string]: unknown }, more = {}) =>
  (await tailrace.admin.putConsumer({ consumer, ...more })).consumer;

describe('PutConsumer', () => {
  it('answers the consumer as it was asked for, with its defaults', async () => {
    const name = fresh();
    const consumer = await put({ name });
    expect(consumer).toMatchObject({
      namespace: 'default',
      spec: {
        name,
        splitKey: SplitKey.FLOW,
        partCount: 1,
        maxTries: 3,
        initialBackoff: seconds(1),
        maxBackoff: seconds(30),
        poisonPolicy: PoisonPolicy.HALT,
        maxParked: 10_000,
        holdLog: false,
      },
      state: ConsumerState.ACTIVE,
      version: 1n,
      generations: [{ generation: 1n, live: true, partCount: 1, parkedCount: 0n }],
      parts: [{ generation: 1n, part: 0, epoch: 0n, ownerId: '', tryCount: 0 }],
    });
    expect((await tailrace.admin.getConsumer({ consumer: name })).consumer?.spec).toEqual(consumer?.spec);
  });

  it('keeps the version when nothing differs', async () => {
    const name = fresh();
    const filter = { eventTypes: ['b', 'a'], tags: { x: '1', y: '2' } };
    const first = await put({ name, partCount: 2, filter, start: StartPosition.LATEST });
    const same = { eventTypes: ['a', 'b', 'a'], tags: { y: '2', x: '1' } };
    const again = await put({ name, filter: same, maxTries: 3, splitKey: SplitKey.FLOW });
    expect([again?.version, again?.updateTime]).toEqual([1n, first?.updateTime]);
    const other = await put({ name, filter: same, maxTries: 4, partCount: 2 }, { expectedVersion: 1n });
    expect(other).toMatchObject({
      version: 2n,
      spec: { maxTries: 4, partCount: 2, filter: { eventTypes: ['a', 'b'] } },
    });
    expect(other?.parts.map(({ part }) => part)).toEqual([0, 1]);
    const { entries } = await tailrace.admin.listLogEntries({ filter: { kinds: [LogEntryKind.CONSUMER_UPDATED] } });
    expect(entries.filter(({ subject }) => subject === name)).toHaveLength(2);
  });

  it('refuses what cannot be meant or changed, and changes nothing', async () => {
    const name = fresh();
    await put({ name });
    const bad = {
      name,
      partCount: 257,
      maxTries: -1,
      start: StartPosition.LATEST,
      cursor: 'x',
      maxBackoff: seconds(0.5),
    };
    const violations = ['part_count', 'max_tries', 'start', 'max_backoff'].map((field) => `consumer.${field}`);
    expect(await fieldsOf(put(bad))).toEqual(violations);
    expect(await fieldsOf(put({ name, splitKey: SplitKey.STREAM }))).toEqual(['consumer.split_key']);
    expect(await fieldsOf(put({ name, partCount: 2 }))).toEqual(['consumer.part_count']);
    expect(await refusal(put({ name }, { expectedVersion: 2n }))).toMatchObject({ reason: 'VERSION_CONFLICT' });
    expect(await refusal(put({ name: fresh(), cursor: 'x' }))).toMatchObject({ reason: 'BAD_CURSOR' });
    expect((await tailrace.admin.getConsumer({ consumer: name })).consumer?.version).toBe(1n);
    expect(await refusal(tailrace.admin.getConsumer({ consumer: 'none' }))).toMatchObject({
      reason: 'CONSUMER_NOT_FOUND',
    });
  });

  it('lists by name, in pages, by state', async () => {
    const namespace = 'listed';
    for (const name of ['c', 'a', 'b']) await tailrace.admin.putConsumer({ namespace, consumer: { name } });
    const first = await tailrace.admin.listConsumers({ namespace, pageSize: 2 });
    const rest = await tailrace.admin.listConsumers({ namespace, pageSize: 2, pageToken: first.nextPageToken });
    expect([...first.consumers, ...rest.consumers].map(({ spec }) => spec?.name)).toEqual(['a', 'b', 'c']);
    expect(rest.nextPageToken).toBe('');
    expect((await tailrace.admin.listConsumers({ namespace, states: [ConsumerState.PAUSED] })).consumers).toEqual([]);
  });

  it('is made once by two that make it at once', async () => {
    const name = fresh();
    await Promise.all([1, 2, 3, 4].map((maxTries) => put({ name, maxTries })));
    const { consumer } = await tailrace.admin.getConsumer({ consumer: name });
    expect([consumer?.version, consumer?.generations.length]).toEqual([4n, 1]);
  });
});

it('the client library puts, steers and swaps them', async () => {
  const client = new Client({ url: tailrace.url });
  try {
    const name = 'by client';
    const { consumers } = client;
    const made = await consumers.put({
      name,
      filter: { eventTypes: [name] },
      splitBy: 'stream',
      onPoison: 'park',
      start: 'latest',
    });
    expect(made).toMatchObject({ version: 1n, spec: { poisonPolicy: PoisonPolicy.PARK } });
    await consumers.pause(name, { reason: 'a while' });
    expect((await consumers.list({ states: [ConsumerState.PAUSED] })).map(({ spec }) => spec?.name)).toContain(name);
    await consumers.resume(name, { expectedVersion: 2n });
    await consumers.reset(name, { time: new Date(0) });
    const { generation } = await consumers.rebuild(name, { from: 'latest', parts: 2 });
    const promoted = await consumers.promote(name, generation);
    expect(promoted).toMatchObject({ version: 6n, spec: { partCount: 2 } });
    expect(await consumers.get(name)).toMatchObject({ version: 6n });
    const refused = await consumers.promote(name, 77n).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(TailraceError);
    expect(refused).toMatchObject({ reason: 'GENERATION_NOT_FOUND' });
  } finally {
    client.close();
  }
});
