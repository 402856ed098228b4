/** Subscriptions that begin in the past: every event once, whether it was published before, meanwhile or after. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Execution } from '../../../gen/tailrace/v1/execution_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { seconds } from '../../support/by-hand.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let servers: readonly TestTailrace[];
let hand: EventsByHand;
beforeAll(async () => {
  const first = await startTailrace();
  servers = [first, await startTailrace({ database: first.database })];
  hand = new EventsByHand(first);
});
afterAll(async () => {
  for (const server of [...servers].reverse()) await server.stop();
});

const MOST = 500;
const long = { leaseDuration: seconds(60) };

const triggers = (executions: readonly Execution[]) => executions.map(({ triggerEventId }) => triggerEventId).sort();

async function caughtUp(subscription: string): Promise<void> {
  await eventually(async () => {
    const { subscription: now } = await (servers[0] as TestTailrace).admin.getSubscription({ subscription });
    return now?.backfilling === false && now.unroutedEventCount === 0n;
  });
}

/** Publishes one after the other at both servers until told to stop, and no more than so many; answers the ids of all. */
function publishing(type: string, streams: number): () => Promise<string[]> {
  let goes = true;
  const ids: string[] = [];
  const loops = servers.map(async ({ engine }, k) => {
    for (let n = 0; goes && n < MOST; n++) {
      const stream = streams > 0 ? `${type} ${n % streams}` : '';
      const { results } = await engine.publishEvents({ events: [{ type, stream, tags: { by: `${k}` } }] });
      const result = results[0]?.result;
      if (result?.case === 'ok') ids.push(result.value.eventId);
    }
  });
  return async () => {
    goes = false;
    await Promise.all(loops);
    return ids.sort();
  };
}

it('2 reads the past beside live routing, and each event once', async () => {
  const stop = publishing('told', 0);
  await hand.publish(...Array.from({ length: 30 }, () => ({ type: 'not meant' })));
  const before = (await hand.publish(...Array.from({ length: 30 }, () => ({ type: 'told' })))).map(
    (each) => each.eventId,
  );
  await hand.subscribe('late', { filter: { eventTypes: ['told'] }, start: StartPosition.EARLIEST });
  const live = await hand.publish(...Array.from({ length: 30 }, () => ({ type: 'told' })));
  const ids = [...(await stop()), ...before, ...live.map((each) => each.eventId)].sort();
  await caughtUp('late');
  expect(triggers(await hand.reactionsOf('late'))).toEqual(ids);
});

it('25 an ordered one gets past and present in the order of positions, while both grow', async () => {
  const stop = publishing('step', 2);
  await eventually(async () => (await (servers[0] as TestTailrace).admin.listEvents({})).events.length > 20);
  const orderingKey = { source: { case: 'stream' as const, value: true } };
  await hand.subscribe('late in order', {
    filter: { eventTypes: ['step'] },
    orderingKey,
    start: StartPosition.EARLIEST,
  });
  const seen = new Map<string, bigint[]>();
  const handle = async () => {
    for (const claim of await hand.claim({ lanes: [{ lane: 'late in order' }], maxExecutions: 50, ...long })) {
      const subject = claim.trigger?.subject;
      if (subject?.case !== 'event') throw new Error('a claim without its event');
      const { stream, streamVersion } = subject.value;
      seen.set(stream, [...(seen.get(stream) ?? []), streamVersion]);
      await hand.complete(claim);
    }
    return [...seen.values()].reduce((sum, { length }) => sum + length, 0);
  };
  while ((await handle()) < 20);
  const ids = await stop();
  while ((await handle()) < ids.length);
  await caughtUp('late in order');
  for (const versions of seen.values()) expect(versions).toEqual(versions.map((_, i) => BigInt(i + 1)));
  expect(triggers(await hand.reactionsOf('late in order'))).toEqual(ids);
});

it('begins behind a cursor, in flows instead of those that have ended, and not for canceled ones', async () => {
  const type = 'paid';
  const ended = await hand.flow({}, { open: true });
  const canceled = await hand.flow({}, { open: true });
  const [first, ...others] = await hand.publish(
    { type },
    { type, flowId: ended.id, tags: { n: '1' } },
    { type, flowId: canceled.id },
    { type, flowId: ended.id, tags: { n: '2' } },
    { type },
  );
  if (first === undefined) throw new Error('nothing was published');
  await ended.seal();
  await ended.ended();
  await canceled.cancel();
  await canceled.ended();
  await eventually(async () => (await hand.event(first.eventId)).cursor !== '');
  const { cursor } = await hand.event(first.eventId);
  const orderingKey = { source: { case: 'flow' as const, value: true } };
  for (const [name, more] of Object.entries({ behind: {}, 'behind in order': { orderingKey } })) {
    await hand.subscribe(name, { filter: { eventTypes: [type] }, cursor, ...more });
    await caughtUp(name);
    const made = await hand.reactionsOf(name);
    const wanted = others.filter((each) => each.flowId !== canceled.id);
    expect(triggers(made)).toEqual(wanted.map((each) => each.eventId).sort());
    const instead = made.filter(({ tags }) => tags['n'] !== undefined);
    const [flowId] = instead.map((each) => each.flowId);
    expect(instead.map((each) => each.flowId)).toEqual([flowId, flowId]);
    expect(flowId).not.toBe(ended.id);
    expect(instead.map(({ tags }) => tags['n'])).toEqual(['1', '2']);
    expect(made.find(({ tags }) => tags['n'] === undefined)?.flowId).toBe(others.at(-1)?.flowId);
  }
  expect((await ended.get()).executions).toEqual([]);
  // By the flow that they were published in.
  await hand.subscribe('of one flow', { filter: { flowId: ended.id }, start: StartPosition.EARLIEST });
  await caughtUp('of one flow');
  expect((await hand.reactionsOf('of one flow')).map(({ tags }) => tags['n'])).toEqual(['1', '2']);
});
