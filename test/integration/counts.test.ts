/** Counts follow the log: several followers beside each other, while work goes on, add up to what is there. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { Counts } from '../../src/loops/counts.js';
import { readStats } from '../../src/repository/inspection/index.js';
import { readLogHead } from '../../src/repository/log/index.js';
import { pause } from '../../src/runtime/clock.js';
import { type Desk, startDesk } from '../support/desk.js';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterAll(async () => {
  await desk.stop();
});

function follower(entries: number): Counts {
  return new Counts({ runner: desk.core.database, onError: fail, gapMs: 1, entries });
}

function fail(name: string, error: unknown): never {
  throw new Error(name, { cause: error });
}

describe('counts', () => {
  it('are the same whoever folds, in whatever portions', async () => {
    const followers = [follower(3), follower(50), follower(10_000)];
    for (const each of followers) each.start();
    for (let round = 0; round < 20; round++) {
      const ids = await desk.hand.create(...Array.from({ length: 5 }, () => ({ lane: `lane-${round % 3}` })));
      const lanes = [{ lane: `lane-${round % 3}` }];
      const [first, second] = await desk.hand.claim({ lanes, maxExecutions: 2 });
      if (first) await desk.hand.complete(first);
      if (second) await desk.hand.fail(second, FailureClass.TRANSIENT);
      await desk.hand.cancel(ids[4] ?? '');
      for (const each of followers) each.follow(BigInt(round) * 1_000n);
    }
    const { database } = desk.core;
    for (let position = -1n; ; ) {
      const { head, unnumbered } = await readLogHead(database);
      if (!unnumbered && position === head) break;
      for (const each of followers) each.follow(head);
      ({ position } = await readStats(database, 1));
      await pause(5);
    }
    for (const each of followers) await each.stop();
    expect(await desk.broken()).toEqual([]);
    const { executions } = await readStats(database, 1);
    expect(executions[0]).toBe(100);
    const { 0: _created, ...states } = executions;
    expect(Object.values(states).reduce((sum, n) => sum + n, 0)).toBe(100);
  });
});
