/**
 * Watches and consumers that go on from their last cursor after servers and databases were restarted: no gap, no double, whoever reads.
 * Clients and workers meanwhile repeat what was not answered, and nothing is made or recorded twice.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { asTailraceError } from '../../src/client/errors.js';
import { pause } from '../../src/runtime/clock.js';
import { ItemRefused, only, refusal, seconds } from '../support/by-hand.js';
import { ConsumersByHand, entriesOf } from '../support/consumers-by-hand.js';
import type { RecordedReader } from '../support/history/reader.js';
import { Recorded } from '../support/history/recorded.js';
import { RestartablePostgres } from '../support/restartable-postgres.js';
import type { Clients } from '../support/tailrace.js';

const TOTAL = 400;
const BATCH = 8;

let postgres: RestartablePostgres;
let recorded: Recorded;
let completions: RecordedReader;
beforeAll(async () => {
  postgres = await RestartablePostgres.make();
  recorded = await Recorded.start({ database: postgres.database });
  completions = await recorded.reader({
    name: 'completions',
    completions: {},
    selects: ({ to }) => to >= ExecutionState.SUCCEEDED,
  });
});
afterAll(async () => {
  try {
    await recorded.stop();
  } finally {
    await postgres.database.drop();
  }
});

/** Repeats until it is answered: what a client does when a server or its database goes away. */
async function insistently<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof ItemRefused || !asTailraceError(error).passing) throw error;
      await pause(20);
    }
  }
}

test('proof 15: watches and consumers resume over restarts of server and database without a gap or a double', async () => {
  const ids = new Set<string>();
  let ended = false;
  async function create(): Promise<void> {
    for (let n = 0; n < TOTAL; n += BATCH) {
      const specs = Array.from({ length: BATCH }, (_, i) => ({ requestId: `item ${n + i}` }));
      for (const id of await insistently(() => recorded.hand().create(...specs))) ids.add(id);
    }
  }
  async function work(name: string): Promise<void> {
    while (!ended) {
      const claims = await insistently(() =>
        recorded.hand(name).claim({ maxExecutions: 5, wait: seconds(0.2), leaseDuration: seconds(1) }),
      );
      for (const claim of claims) {
        await insistently(() => recorded.hand(name).complete(claim)).catch((error: unknown) => {
          // It took longer than the lease, or the first answer was lost and it is known as the end by now.
          if (!(error instanceof ItemRefused)) throw error;
        });
      }
    }
  }
  /** Whichever server there is. */
  const clients = new Proxy({} as Clients, { get: (_, service) => Reflect.get(recorded.clients, service) });
  async function follow(): Promise<string[]> {
    const hand = new ConsumersByHand(clients);
    const filter = { kinds: [LogEntryKind.EXECUTION_CREATED] };
    await insistently(() => hand.consumer('follower', { filter }));
    const owner = await insistently(() => hand.owner('follower', { leaseDuration: seconds(600) }));
    const followed: string[] = [];
    while (followed.length < TOTAL) {
      const answer = await insistently(() => owner.fetch({ maxEntries: 20, wait: seconds(1) }));
      await insistently(() => owner.commit(answer));
      followed.push(...entriesOf(answer).map(({ executionId }) => executionId));
    }
    return followed;
  }
  const seen = (share: number) => completions.until(({ completed }) => completed.length >= TOTAL * share, 60_000);

  const working = [work('one'), work('two')];
  const following = follow();
  const creating = create();
  await seen(0.1);
  await postgres.crash();
  await seen(0.3);
  await recorded.restart();
  await seen(0.5);
  await postgres.crash();
  await recorded.restart();
  await creating;
  await seen(1);
  ended = true;
  await Promise.all(working);

  expect(ids.size).toBe(TOTAL);
  expect((await following).sort()).toEqual([...ids].sort());
  expect(completions.completed.map(({ executionId }) => executionId).sort()).toEqual([...ids].sort());
  // The recorded history is judged when the test ends: positions, order, readers against each other.
  expect(recorded.log.ends.length).toBeGreaterThanOrEqual(3);
});

test('proof 15: a watch that the restart cut is told so, and goes on elsewhere from the cursor it had', async () => {
  const { completion } = recorded.clients;
  const watch = completion.watchLog({ namespace: '*', start: StartPosition.LATEST })[Symbol.asyncIterator]();
  const cursor = (await watch.next()).value?.heartbeat?.cursor ?? '';
  const cut = refusal(watch.next());
  await recorded.restart();
  expect(await cut).toMatchObject({ reason: 'DRAINING' });
  const id = await recorded.hand().createOne({ lane: 'after the restart' });
  for await (const { entries } of recorded.clients.completion.watchLog({ namespace: '*', cursor })) {
    if (entries.length === 0) continue;
    expect(only(entries)).toMatchObject({ executionId: id, lane: 'after the restart' });
    break;
  }
});
