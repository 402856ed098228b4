/**
 * A bulk redrive outlives its server: killed after any statement of a step, it is gone on with by another one, and every letter
 * runs again once. Two servers at once keep the rate of one.
 */
import { describe, expect, test } from 'vitest';
import { DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { RedriveState } from '../../gen/tailrace/v1/redrive_pb.js';
import { Client } from '../../src/client/index.js';
import { verify } from '../../src/repository/verification/index.js';
import { crashAt, type Operation } from '../support/crash-point.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { freshDatabase } from '../support/postgres.js';
import { RedrivesByHand } from '../support/redrives-by-hand.js';
import { type Clients, startTailrace } from '../support/tailrace.js';

const ALONE = 12;
const MEMBERS = 12;
const COUNT = ALONE + MEMBERS;
const lane = 'crashes';

class Hand extends RedrivesByHand {
  readonly flows: FlowsByHand;

  constructor(clients: Clients) {
    super(clients);
    this.flows = new FlowsByHand(clients);
  }
}

/** Half of them stand in flows of their own, where something was skipped because of them. */
const redriving: Operation<Hand> = {
  matters: /^redrives\.(hold|mark|redo-skipped|count)$/,
  // At this rate there are at least two steps.
  points: [2, 3, 6],
  prepare: async (hand) => {
    const chain = { members: { work: {}, after: {} }, links: [['work', 'after'] as const] };
    await Promise.all(Array.from({ length: MEMBERS }, () => hand.flows.flow(chain, {}, lane)));
    await hand.givenUp(lane, ALONE);
    await hand.fail(await hand.claim(lane, MEMBERS));
    const asked = { requestId: 'once', canaryCount: 0, ratePerSecond: 60 };
    return {
      act: async (there) => {
        const redrive = await there.start(lane, asked);
        await there.until(redrive, ({ state }) => state === RedriveState.FINISHED);
      },
      finished: async (there) => {
        const redrive = await there.start(lane, asked);
        expect(await there.look(redrive)).toMatchObject({ startedCount: BigInt(COUNT), skippedCount: 0n });
        await there.complete(await there.claim(lane, COUNT));
        await there.complete(await there.claim(lane, MEMBERS));
        expect(await there.look(redrive)).toMatchObject({ succeededCount: BigInt(COUNT), runningCount: 0n });
        const letters = await there.letters(lane);
        expect(letters).toHaveLength(COUNT);
        for (const letter of letters) expect(letter).toMatchObject({ state: DeadLetterState.CLOSED, redriveCount: 1 });
        expect(await there.hand.claim({ lanes: [{ lane }], wait: {} })).toEqual([]);
      },
    };
  },
};

describe.concurrent('a server dies', () => {
  test.each(redriving.points)(
    'after statement %i of a bulk redrive, and each letter runs again once',
    async (point) => {
      await crashAt(point, redriving, (clients) => new Hand(clients));
    },
  );
});

test('two servers keep the rate of one, and either goes on when the other stops', async () => {
  const database = await freshDatabase();
  const [first, second] = await Promise.all([startTailrace({ database }), startTailrace({ database })]);
  const hand = new RedrivesByHand(second);
  await hand.givenUp(lane, 60);
  const client = new Client({ url: second.url });
  const filter = { lanes: [lane] };
  expect(await client.redrives.preview(filter, { rate: 50 })).toMatchObject({ count: 60, estimatedMs: 1_200 });
  const redrive = await new RedrivesByHand(first).start(lane, { canaryCount: 0, ratePerSecond: 50 });
  await hand.until(redrive, ({ startedCount }) => startedCount >= 20n);
  await first.stop();
  expect(await client.redrives.ended(redrive.redriveId)).toMatchObject({ startedCount: 60n });
  const times = (await hand.letters(lane)).map(
    ({ redriveTime: at }) => Number(at?.seconds) * 1_000 + (at?.nanos ?? 0) / 1e6,
  );
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(((60 / 2) * 1_000) / 100);
  for (const time of times) {
    expect(times.filter((other) => other >= time && other < time + 1_000).length).toBeLessThanOrEqual(2 * 50 + 15);
  }
  const broken = (await verify(second.running.engine.database)).filter(({ violations }) => violations.length > 0);
  expect(broken).toEqual([]);
  // What runs again is not OPEN.
  const none = await client.redrives.start(filter, { inputPatch: { again: true }, note: 'for the client' });
  expect(none).toMatchObject({ selectedCount: 0n, inputPatch: { body: { value: '{"again":true}' } } });
  expect(await client.redrives.stop(none.redriveId)).toMatchObject({ note: 'for the client' });
  client.close();
  await second.stop();
  await database.drop();
});
