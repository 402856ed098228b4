/**
 * Members of consumers die, come and go, and so does a server: each part has one owner at a time, cursors move without gap or
 * overlap, every entry is handled, in order; and what is written in one transaction with the cursor is there exactly once.
 *
 * The history checker judges the members in this process by their calls; those in processes of their own, which are killed as
 * the kernel kills, are judged by the table that they leave. TAILRACE_TEST_SEED makes the same choices again.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PoisonPolicy, SplitKey } from '../../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import type { LogEntry } from '../../../gen/tailrace/v1/log_pb.js';
import { Client, Content } from '../../../src/client/index.js';
import { monotonicMs, pause } from '../../../src/runtime/clock.js';
import type { ConsumerContext } from '../../../src/worker/index.js';
import { seconds } from '../../support/by-hand.js';
import { Chance } from '../../support/chance.js';
import { ConsumersByHand } from '../../support/consumers-by-hand.js';
import { DoomedMember } from '../../support/doomed-member.js';
import { eventually } from '../../support/eventually.js';
import { Recorded } from '../../support/history/recorded.js';
import { Mortal } from '../../support/mortal.js';
import { SqlClients } from '../../support/sql-clients.js';

const STREAMS = 12;
const CALLS = 40;
/** On a slow machine there are fewer. */
const PUBLISHED_MS = 6_000;
const PARTS = 4;
const given = process.env['TAILRACE_TEST_SEED'];

let recorded: Recorded;
let sql: SqlClients;
const children: ChildProcess[] = [];
beforeAll(async () => {
  recorded = await Recorded.start();
  sql = await SqlClients.start(recorded.tailrace.database);
  const table = 'create table app.model (place bigserial, stream text, version int, event text)';
  await sql.transaction((query) => query(table));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await sql.stop();
  await recorded.stop();
});

test('proof 1, 2, 10, 11: members and servers die, and everything is handled, in transactions once', async () => {
  const seed = Number(given ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  const dice = new Chance(seed);
  const hand = new ConsumersByHand(recorded.clients);
  const shared = { partCount: PARTS, splitKey: SplitKey.STREAM, initialBackoff: seconds(0.02) };
  await hand.consumer('model', { ...shared, maxTries: 100 });
  await hand.consumer('seen', { ...shared, maxTries: 2, poisonPolicy: PoisonPolicy.PARK });
  const mortal = new Mortal(recorded, dice.fork());
  const urlFor = (own: Chance) => own.pick([mortal.url, recorded.tailrace.url]) ?? recorded.tailrace.url;
  let over = false;

  const database = new URL(recorded.tailrace.database.url);
  database.username = database.password = sql.role;
  let kills = 0;
  const processes = async (own: Chance) => {
    while (!over) {
      const child = program(urlFor(own), database.href, 'model', '3');
      const exited = once(child, 'exit');
      await Promise.race([once(child, 'message'), exited]);
      await pause(300 + own.below(1_500));
      child.kill(own.percent(25) ? 'SIGTERM' : 'SIGKILL');
      await exited;
      kills++;
    }
  };

  /** Poison needs some luck. */
  const handler = async (own: Chance, { body }: LogEntry, { signal }: ConsumerContext) => {
    const payload = new Content(body.case === 'event' ? body.value.payload : undefined).json<{ poison: boolean }>();
    if (own.percent(payload?.poison ? 70 : 2)) throw new Error('it does not work');
    if (own.percent(10)) await pause(own.below(30), signal);
  };
  const joined = (url: string, own: Chance) =>
    new DoomedMember(url, recorded.recorder, 'seen', (entry, context) => handler(own, entry, context), {
      leaseDurationMs: 1_000,
      maxEntries: 10,
    });
  const members = async (own: Chance) => {
    while (!over) {
      const member = joined(urlFor(own), own);
      await member.start();
      await pause(200 + own.below(1_500));
      if (own.percent(30)) await member.stop();
      else await member.die();
    }
  };

  const desk = recorded.clients.deadLetters;
  const heads = async () => {
    const filter = { consumers: ['seen'], states: [DeadLetterState.OPEN, DeadLetterState.REDRIVING] };
    return (await desk.listDeadLetters({ filter, pageSize: 1_000 })).deadLetters.flatMap((letter) => {
      const { case: about, value } = letter.subject?.subject ?? { case: undefined };
      return about === 'consumerEntry' && !value.follower ? [letter] : [];
    });
  };
  const decide = async (own: Chance) => {
    for (const { deadLetterId, state, version: expectedVersion } of await heads()) {
      if (state !== DeadLetterState.OPEN) continue;
      const ignored = { deadLetters: [{ deadLetterId, expectedVersion }], resolution: DeadLetterResolution.IGNORED };
      if (own.percent(15)) await desk.resolveDeadLetters(ignored);
      else
        await desk.redriveDeadLetter({
          deadLetterId,
          expectedVersion,
          requestId: `${deadLetterId} ${expectedVersion}`,
        });
    }
  };
  const operate = async (own: Chance) => {
    for (; !over; await pause(300)) await decide(own).catch(() => undefined);
  };

  const client = new Client({ url: recorded.tailrace.url });
  const publish = async (own: Chance) => {
    const endMs = monotonicMs() + PUBLISHED_MS;
    for (let call = 0; call < CALLS && monotonicMs() < endMs; call++) {
      const events = Array.from({ length: 1 + own.below(4) }, () => ({
        type: 'counted',
        stream: `s${own.below(STREAMS)}`,
        payload: { poison: own.percent(5) },
      }));
      await client.publishMany(events);
      await pause(own.below(120));
    }
  };

  const actors = [processes, processes, members, members, members, operate].map((actor) => actor(dice.fork()));
  try {
    await Promise.all([publish(dice.fork()), publish(dice.fork())]);
  } finally {
    over = true;
    await Promise.all([...actors, mortal.stop()]);
  }
  expect(kills).toBeGreaterThan(1);
  expect(mortal.kills).toBeGreaterThan(0);

  // Those that are left have to finish what the others began.
  const survivor = joined(recorded.tailrace.url, dice.fork());
  await survivor.start();
  const last = program(recorded.tailrace.url, database.href, 'model', '0');
  const { cursor } = await client.publish({ type: 'counted', stream: 'last', payload: {} });
  for (const consumer of ['model', 'seen']) {
    expect(await client.awaitConsumer(consumer, cursor, { timeoutMs: 60_000 }), consumer).toMatchObject({ done: true });
  }
  const luck = dice.fork();
  await eventually(async () => {
    await decide(luck);
    return (await heads()).length === 0;
  }, 40_000);
  await survivor.stop();
  last.kill('SIGTERM');
  await once(last, 'exit');

  const { rows, ordered } = await modelled();
  const { events } = await recorded.clients.admin.listEvents({ pageSize: 1_000 });
  expect(rows).toBe(events.length);
  expect(ordered).toEqual([]);
  client.close();
});

function program(...args: readonly string[]): ChildProcess {
  const child = fork('test/support/consumer-program.ts', args, { execArgv: ['--import', 'tsx'], stdio: 'inherit' });
  children.push(child);
  return child;
}

/** How many entries were written, and the streams whose versions are not each there once and in order. */
async function modelled() {
  const read = `select stream, array_agg(version order by place) as versions from app.model group by stream`;
  const streams = await sql.transaction((query) => query<{ stream: string; versions: number[] }>(read));
  const rows = streams.reduce((sum, { versions }) => sum + versions.length, 0);
  const wrong = streams.filter(({ versions }) => versions.some((version, place) => version !== place + 1));
  return { rows, ordered: wrong.map(({ stream, versions }) => `${stream}: ${versions}`) };
}
