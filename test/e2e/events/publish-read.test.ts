/** Events as they are listed, and as the client library publishes and reads them. */
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Client } from '../../../src/client/index.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { refusal, text } from '../../support/by-hand.js';
import { Publications } from '../../support/events/publications.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let events: Publications;
beforeAll(async () => {
  tailrace = await startTailrace();
  events = new Publications(tailrace);
});
afterAll(() => tailrace.stop());

type Filter = Omit<Parameters<TestTailrace['admin']['listEvents']>[0], '$typeName'>;

/** Ids of all pages. */
async function listed(filter: Filter, pageSize = 2): Promise<string[]> {
  const ids: string[] = [];
  let pageToken = '';
  do {
    const page = await tailrace.admin.listEvents({ ...filter, pageSize, pageToken });
    expect(page.events.length).toBeLessThanOrEqual(pageSize);
    ids.push(...page.events.map(({ eventId }) => eventId));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return ids;
}

describe('ListEvents', () => {
  it('goes page by page, newest first, by whatever it is asked for', async () => {
    const before = timestampFromDate(new Date(wallMs() - 60_000));
    const { flowId } = await events.one({ eventId: 'r', type: 'root', stream: 's', tags: { rare: 'yes' } });
    const child = { causeEventId: 'r', tags: { many: 'yes' } };
    await events.publish(
      { ...child, eventId: 'a', type: 'leaf', stream: 's' },
      { ...child, eventId: 'b', type: 'leaf' },
      { ...child, eventId: 'c', type: 'other', stream: 's' },
    );
    const [g] = await events.publish(
      { eventId: 'g', batchGroup: 'g', type: 'leaf', payload: text('content') },
      { eventId: 'h', batchGroup: 'g', type: 'leaf', stream: 's' },
    );
    await events.ask([{ eventId: 'z' }], { namespace: 'elsewhere' });
    const found: [Filter, string][] = [
      [{}, 'h g c b a r'],
      [{ namespace: 'elsewhere' }, 'z'],
      [{ namespace: 'unheard' }, ''],
      [{ types: ['leaf'] }, 'h g b a'],
      [{ types: ['root', 'other'] }, 'c r'],
      [{ stream: 's' }, 'h c a r'],
      [{ stream: 's', types: ['leaf'] }, 'h a'],
      [{ stream: 'unheard' }, ''],
      [{ flowId }, 'c b a r'],
      [{ flowId, stream: 's' }, 'c a r'],
      [{ causeEventId: 'r' }, 'c b a'],
      [{ causeEventId: 'unheard' }, ''],
      [{ batchId: g?.batch?.batchId ?? '' }, 'h g'],
      [{ batchId: g?.batch?.batchId ?? '', stream: 's' }, 'h'],
      [{ tags: { rare: 'yes' } }, 'r'],
      [{ tags: { many: 'yes' }, types: ['leaf'] }, 'b a'],
      [{ minPublishTime: before, types: ['root'] }, 'r'],
      [{ maxPublishTime: before }, ''],
      [{ maxPublishTime: before, stream: 's' }, ''],
    ];
    for (const [filter, ids] of found) expect([filter, (await listed(filter)).join(' ')]).toEqual([filter, ids]);

    const page = async (includePayloads: boolean) => {
      const { events: all } = await tailrace.admin.listEvents({ types: ['leaf'], includePayloads });
      return all.find(({ eventId }) => eventId === 'g');
    };
    expect(await page(true)).toMatchObject({ payload: { body: { value: 'content' } }, payloadOmitted: false });
    expect(await page(false)).toMatchObject({ payloadOmitted: true, batch: { index: 0, size: 2 } });
    const { nextPageToken: pageToken } = await tailrace.admin.listEvents({ stream: 's', pageSize: 1 });
    expect(await refusal(tailrace.admin.listEvents({ stream: 't', pageSize: 1, pageToken }))).toMatchObject({
      reason: 'BAD_CURSOR',
    });
  });
});

describe('the client library', () => {
  it('publishes, and reads what it has published', async () => {
    const schemas = { 'order.placed': z.object({ total: z.number() }), 'order.noted': z.string() };
    const client = new Client({ url: tailrace.url, events: schemas });
    try {
      const placed = await client.publish({ type: 'order.placed', payload: { total: 7 }, stream: 'orders' });
      const noted = { type: 'order.noted', payload: 'gift', stream: 'orders', causeEventId: placed.eventId } as const;
      const results = await client.publishMany([
        { ...noted, eventId: 'noted', expectedStreamVersion: 1 },
        { ...noted, expectedStreamVersion: 7 },
        { ...noted, batchGroup: 'both' },
        { ...noted, batchGroup: 'both' },
      ]);
      expect(results).toMatchObject([
        { ok: true, eventId: 'noted', streamVersion: 2n, flowId: placed.flowId, hops: 1, duplicate: false },
        { ok: false, error: { reason: 'STREAM_VERSION_CONFLICT' } },
        { ok: true, batch: { index: 0, size: 2 } },
        { ok: true, batch: { index: 1, size: 2 } },
      ]);
      await expect(
        client.publishMany([{ ...noted, expectedStreamVersion: 0 }], { atomic: true }),
      ).rejects.toMatchObject({
        reason: 'STREAM_VERSION_CONFLICT',
      });
      await expect(client.publish({ type: 'order.placed', payload: { total: 'many' } as never })).rejects.toThrow(
        'schema',
      );

      const event = await client.getEvent(placed.eventId);
      expect([event?.type, event?.content.json()]).toEqual(['order.placed', { total: 7 }]);
      expect(await client.getEvent('unheard')).toBeUndefined();
      const read = async (options: Parameters<Client['readStream']>[1]) => {
        const versions: number[] = [];
        for await (const { streamVersion } of client.readStream('orders', options))
          versions.push(Number(streamVersion));
        return versions;
      };
      expect(await read({ pageSize: 3 })).toEqual([1, 2, 3, 4]);
      expect(await read({ pageSize: 2, backward: true })).toEqual([4, 3, 2, 1]);
      expect(await read({ fromVersion: 3 })).toEqual([3, 4]);
      await expect(client.readStream('unheard').next()).rejects.toMatchObject({ reason: 'STREAM_NOT_FOUND' });
    } finally {
      client.close();
    }
  });

  it('publishes any number, a batch group in one call', async () => {
    const client = new Client({ url: tailrace.url });
    try {
      const many = Array.from({ length: 1_100 }, (_, i) => ({ type: 'many', eventId: `many ${i}` }));
      const results = await client.publishMany([
        { type: 'one', batchGroup: 'g' },
        ...many,
        { type: 'two', batchGroup: 'g' },
      ]);
      expect(results.every(({ ok }) => ok)).toBe(true);
      const batches = [results[0], results.at(-1)].map((result) => (result?.ok ? result.batch : undefined));
      expect(batches).toMatchObject([
        { index: 0, size: 2 },
        { index: 1, batchId: batches[0]?.batchId },
      ]);
      expect(results[1]).toMatchObject({ eventId: 'many 0' });
    } finally {
      client.close();
    }
  });
});
