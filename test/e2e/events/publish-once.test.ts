/** An id is published once, and a version of a stream given once, whoever asks, over two servers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verify } from '../../../src/repository/verification/index.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { uuidV7 } from '../../../src/runtime/random.js';
import { refusal, text } from '../../support/by-hand.js';
import { Publications, type Published, verdictOf } from '../../support/events/publications.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const DAY_MS = 86_400_000;

let tailrace: TestTailrace;
let other: TestTailrace;
let events: Publications;
let elsewhere: Publications;
beforeAll(async () => {
  tailrace = await startTailrace();
  other = await startTailrace({ database: tailrace.database });
  events = new Publications(tailrace);
  elsewhere = new Publications(other);
});
afterAll(async () => {
  const rules = await verify(tailrace.running.engine.database);
  await other.stop();
  await tailrace.stop();
  expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
});

/** One server, then the other. */
const at = (i: number) => (i % 2 === 0 ? events : elsewhere);

describe('proof 6: the same event id', () => {
  it('with the same content answers the first event', async () => {
    const spec = {
      eventId: 'same',
      payload: text('a'),
      stream: 'same',
      tags: { a: '1', b: '2' },
      headers: { x: '1', y: '2' },
    };
    const first = await events.one({ ...spec, expectedStreamVersion: 0n });
    await events.one({ stream: 'same' });
    const again = { ...spec, tags: { b: '2', a: '1' }, headers: { y: '2', x: '1' } };
    expect(await events.one(again)).toEqual({ ...first, duplicate: true });
    // What was only checked then is no content: whoever lost the answer has looked at the stream again.
    expect(await events.one({ ...again, expectedStreamVersion: 2n })).toEqual({ ...first, duplicate: true });
    expect(await events.versionsOf('same')).toEqual([1n, 2n]);
  });

  it('with other content is refused, whatever of it is another', async () => {
    const { flowId } = await events.one({ eventId: 'cause of others' });
    const changes: Published[] = [
      { payload: text('b') },
      { payload: { contentType: 'text/markdown', ...text('a') } },
      { type: 'other' },
      { stream: 'other' },
      { flowId },
      { causeEventId: 'cause of others' },
      { tags: { a: '2' } },
      { headers: { a: '2' } },
      { schemaVersion: 1 },
      { occurTime: { seconds: 1n, nanos: 0 } },
      { batchGroup: 'alone' },
    ];
    const spec = { eventId: 'other content', payload: text('a') };
    const first = await events.one(spec);
    for (const change of changes) {
      expect(await events.refused({ ...spec, ...change })).toEqual({
        reason: 'EVENT_ID_REUSED',
        metadata: { event_id: 'other content' },
      });
    }
    expect(await events.get('other content')).toMatchObject({ cursor: first.cursor, type: 'happened' });
    expect(await events.verdicts([{ ...spec, type: 'other' }], { namespace: 'elsewhere' })).toEqual(['published']);
  });

  it('twice in one call is malformed, and nothing of the call is stored', async () => {
    const twins = [{ eventId: 'beside twins' }, { eventId: 'twin' }, { eventId: 'twin' }];
    expect(await refusal(events.ask(twins))).toMatchObject({ fieldViolations: [{ field: 'events[2].event_id' }] });
    expect(await events.verdicts(twins.slice(0, 2))).toEqual(['published', 'published']);
  });

  it('of version 7 is refused once it is older than ids are remembered', async () => {
    const [old, young] = [uuidV7(wallMs() - 31 * DAY_MS), uuidV7(wallMs() - 29 * DAY_MS)];
    const { reason, metadata } = await events.refused({ eventId: old });
    expect(reason).toBe('EVENT_ID_TOO_OLD');
    expect(Math.abs(Date.parse(metadata['floor_time'] ?? '') - (wallMs() - 30 * DAY_MS))).toBeLessThan(60_000);
    expect(await events.verdicts([{ eventId: young }, { eventId: uuidV7(wallMs() + 4 * 60_000) }])).toEqual([
      'published',
      'published',
    ]);
    expect(await tailrace.engine.getEvent({ eventId: old })).toMatchObject({ accepted: false });
  });

  it('that the engine has made is nobody else’s', async () => {
    const { eventId } = await events.one({ type: 'first' });
    expect(await events.refused({ eventId, type: 'first' })).toMatchObject({ reason: 'EVENT_ID_REUSED' });
    expect(await events.get(eventId)).toMatchObject({ type: 'first' });
  });

  it('is free again when its event was refused', async () => {
    const spec = { eventId: 'refused first', stream: 'refused first' };
    expect(await events.verdicts([{ ...spec, expectedStreamVersion: 7n }])).toEqual(['STREAM_VERSION_CONFLICT']);
    expect(await tailrace.engine.getEvent({ eventId: 'refused first' })).toMatchObject({ accepted: false });
    expect(await refusal(tailrace.engine.readStream({ stream: 'refused first' }))).toMatchObject({
      reason: 'STREAM_NOT_FOUND',
    });
    expect(await events.verdicts([{ ...spec, type: 'other' }])).toEqual(['published']);
  });

  it('of two contents over two servers one wins, and everybody gets his own answer', async () => {
    const asks = Array.from({ length: 30 }, (_, i) =>
      at(i).ask([{ eventId: 'contested', payload: text(i % 3 === 0 ? 'a' : 'b') }]),
    );
    const results = (await Promise.all(asks)).flat();
    const cursors = results.flatMap(({ result }) => (result.case === 'ok' ? [result.value.cursor] : []));
    const counts = ['published', 'duplicate', 'EVENT_ID_REUSED'].map(
      (verdict) => results.filter((result) => verdictOf(result) === verdict).length,
    );
    expect(new Set(cursors).size).toBe(1);
    expect(['1 9 20', '1 19 10']).toContain(counts.join(' '));
  });

  it('in opposite order over two servers meets without a deadlock', async () => {
    const specs = Array.from({ length: 100 }, (_, i) => ({ eventId: `crossing ${i}`, stream: `crossing ${i % 7}` }));
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, i) => at(i).ask(i % 2 === 0 ? specs : specs.toReversed())),
    );
    const told = results.flat().map(verdictOf);
    expect([
      told.filter((verdict) => verdict === 'published').length,
      told.filter((verdict) => verdict === 'duplicate').length,
    ]).toEqual([100, 500]);
    for (let i = 0; i < 7; i++) {
      const versions = await events.versionsOf(`crossing ${i}`);
      expect(versions).toEqual(versions.map((_, at) => BigInt(at + 1)));
    }
  });
});

describe('streams', () => {
  it('proof 25: of fifty appenders that expect one version one wins, and there is no gap', async () => {
    for (const expected of [0n, 1n, 2n]) {
      const asks = Array.from({ length: 50 }, (_, i) =>
        at(i).ask([{ stream: 'contested', expectedStreamVersion: expected }]),
      );
      const told = (await Promise.all(asks)).flat().map(verdictOf);
      expect(told.filter((verdict) => verdict === 'published')).toHaveLength(1);
      expect(told.filter((verdict) => verdict === 'STREAM_VERSION_CONFLICT')).toHaveLength(49);
    }
    expect(await events.refused({ stream: 'contested', expectedStreamVersion: 7n })).toEqual({
      reason: 'STREAM_VERSION_CONFLICT',
      metadata: { stream: 'contested', current_version: '3' },
    });
    const free = Array.from({ length: 50 }, (_, i) => at(i).ask([{ stream: 'contested' }]));
    await Promise.all(free);
    expect(await events.versionsOf('contested')).toEqual(Array.from({ length: 53 }, (_, i) => BigInt(i + 1)));
  });

  it('begin with whoever is accepted, also beside others that would have made them and are refused', async () => {
    const stream = 'begun beside the refused';
    const asks = Array.from({ length: 30 }, (_, i) =>
      at(i).ask([{ stream, ...(i % 3 > 0 && { expectedStreamVersion: 77n }) }]),
    );
    const told = (await Promise.all(asks)).flat().map(verdictOf);
    expect(told).toEqual(told.map((_, i) => (i % 3 > 0 ? 'STREAM_VERSION_CONFLICT' : 'published')));
    expect(await events.versionsOf(stream)).toEqual(Array.from({ length: 10 }, (_, i) => BigInt(i + 1)));
  });
});
