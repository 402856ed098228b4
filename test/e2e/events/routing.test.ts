/** What publishing leaves over is routed: every event once to each subscription, ordered ones in the log's order. */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FlowMilestone } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { Execution } from '../../../gen/tailrace/v1/execution_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { only, refusal, seconds } from '../../support/by-hand.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

/** Two servers, so that each passes over what the other one has. */
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

const triggers = (executions: readonly Execution[]) => executions.map(({ triggerEventId }) => triggerEventId).sort();

/** Events of a type, numbered by their tag `n`; half of the calls to each server. */
async function publishMany(type: string, count: number, more: (n: number) => object = () => ({})): Promise<string[]> {
  const calls = Array.from({ length: count }, async (_, n) => {
    const engine = servers[n % servers.length]?.engine;
    const { results } = (await engine?.publishEvents({ events: [{ type, tags: { n: `${n}` }, ...more(n) }] })) ?? {};
    const result = results?.[0]?.result;
    if (result?.case !== 'ok') throw new Error('an event was refused');
    return result.value.eventId;
  });
  return (await Promise.all(calls)).sort();
}

it('2 makes one execution per event and subscription, also where many want one event', async () => {
  const names = Array.from({ length: 11 }, (_, i) => `wide ${i}`);
  for (const name of names) await hand.subscribe(name, { filter: { eventTypes: ['wide'] } });
  const ids = await publishMany('wide', 20);
  for (const name of names) {
    await eventually(async () => (await hand.reactionsOf(name)).length >= ids.length);
    expect(triggers(await hand.reactionsOf(name))).toEqual(ids);
  }
});

it('25 starts ordered reactions in the order of positions, per stream', async () => {
  const ordered = { orderingKey: { source: { case: 'stream' as const, value: true } } };
  await hand.subscribe('in order', { filter: { eventTypes: ['step'] }, ...ordered });
  const ids = await publishMany('step', 30, (n) => ({ stream: `s${n % 3}` }));
  const seen = new Map<string, bigint[]>();
  for (let handled = 0; handled < ids.length; ) {
    const claims = await hand.claim({ lanes: [{ lane: 'in order' }], maxExecutions: 10 });
    for (const claim of claims) {
      const subject = claim.trigger?.subject;
      if (subject?.case !== 'event') throw new Error('a claim without its event');
      const { stream, streamVersion } = subject.value;
      seen.set(stream, [...(seen.get(stream) ?? []), streamVersion]);
      await hand.complete(claim);
      handled++;
    }
  }
  for (const versions of seen.values()) expect(versions).toEqual(Array.from({ length: 10 }, (_, i) => BigInt(i + 1)));
  expect(triggers(await hand.reactionsOf('in order'))).toEqual(ids);
});

it('routes an event over the limit of hops once more, from 0, when its letter is redriven', async () => {
  await hand.subscribe('far', { filter: { eventTypes: ['far'] } });
  const chain = Array.from({ length: 66 }, (_, n) => ({
    type: n === 65 ? 'far' : 'near',
    eventId: `chain ${n}`,
    ...(n > 0 && { causeEventId: `chain ${n - 1}` }),
  }));
  const last = (await hand.publish(...chain)).at(-1);
  expect(last?.hops).toBe(65);
  const { admin, deadLetters, completion } = servers[0] as TestTailrace;
  const { deadLetters: listed } = await deadLetters.listDeadLetters({
    filter: { reasons: [DeadLetterReason.HOP_LIMIT] },
  });
  const letter = only(listed);
  expect(letter).toMatchObject({ eventId: 'chain 65', state: DeadLetterState.OPEN });
  expect(await hand.reactionsOf('far')).toEqual([]);
  await completion.awaitFlow({ flowId: letter.flowId, until: FlowMilestone.SETTLED, timeout: seconds(20) });
  await servers[0]?.engine.sealFlow({ flowId: letter.flowId });
  await completion.awaitFlow({ flowId: letter.flowId, until: FlowMilestone.ENDED, timeout: seconds(20) });
  const ask = { deadLetterId: letter.deadLetterId, requestId: 'again', note: 'the loop is mended' };
  const wrong = await refusal(deadLetters.redriveDeadLetter({ ...ask, lane: 'x' }));
  expect(wrong.fieldViolations.map(({ field }) => field)).toEqual(['lane']);
  await deadLetters.redriveDeadLetter(ask);
  expect((await deadLetters.redriveDeadLetter(ask)).duplicate).toBe(true);
  await eventually(async () => (await hand.reactionsOf('far')).length > 0);
  const reaction = only(await hand.reactionsOf('far'));
  expect(reaction).toMatchObject({ triggerEventId: 'chain 65', hops: 0, flowId: letter.flowId });
  const { deadLetter } = await deadLetters.getDeadLetter({ deadLetterId: letter.deadLetterId });
  expect(deadLetter).toMatchObject({ state: DeadLetterState.CLOSED, resolution: DeadLetterResolution.REDRIVEN });
  expect((await admin.getFlow({ flowId: letter.flowId })).flow?.state).toBe(FlowState.ACTIVE);
  await hand.complete(await hand.claimOne({ lanes: [{ lane: 'far' }] }));
  const { flow } = await completion.awaitFlow({
    flowId: letter.flowId,
    until: FlowMilestone.ENDED,
    timeout: seconds(20),
  });
  expect(flow?.state).toBe(FlowState.SUCCEEDED);
});

it('25 a key that somebody else is making holds up its own line, and no other subscription', async () => {
  const filter = { eventTypes: ['kept'] };
  for (const name of ['kept', 'free']) {
    await hand.subscribe(name, { filter, orderingKey: { source: { case: 'tag', value: name } } });
  }
  const { url, schema } = (servers[0] as TestTailrace).database;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('begin');
  await client.query(`insert into ${schema}.concurrency_key (id, namespace, lane, key, ordered)
    select ${schema}.order_gate_of(l.id, 'one'), l.namespace, l.id, 'one', true from ${schema}.lane l where l.name = 'kept'`);
  const { eventId } = await hand.publishOne({ type: 'kept', tags: { kept: 'one', free: 'one' } });
  await eventually(async () => (await hand.reactionsOf('free')).length > 0);
  expect(await hand.reactionsOf('kept')).toEqual([]);
  await client.query('rollback');
  await client.end();
  await eventually(async () => (await hand.reactionsOf('kept')).length > 0);
  for (const name of ['kept', 'free']) expect(triggers(await hand.reactionsOf(name))).toEqual([eventId]);
});
