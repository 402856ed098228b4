/** The follower of the log asks the database only when there is something new to fold. */
import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Counts } from '../../../src/loops/counts.js';
import type { Runner } from '../../../src/repository/database.js';

it('folds until the head, and again only when the log has grown', async () => {
  let head = 25n;
  let upto = 0n;
  const folds: bigint[] = [];
  let onFold: (upto: bigint) => void = () => undefined;
  const runner: Runner = {
    async query<R extends object>(): Promise<R[]> {
      const folded = head - upto > 10n ? 10 : Number(head - upto);
      upto += BigInt(folded);
      folds.push(upto);
      onFold(upto);
      return [{ busy: false, folded, upto } as unknown as R];
    },
  };
  const reached = (position: bigint) =>
    new Promise<void>((resolve) => {
      onFold = (at) => at === position && resolve();
    });
  const counts = new Counts({ runner, onError: (_, error) => expect(error).toBeUndefined(), gapMs: 0, entries: 10 });

  const first = reached(25n);
  counts.start();
  await first;
  await setImmediate();
  expect(folds).toEqual([10n, 20n, 25n]);

  for (let i = 0; i < 10; i++) counts.follow(25n);
  await setImmediate();
  expect(folds).toHaveLength(3);

  const second = reached(26n);
  head = 26n;
  counts.follow(26n);
  await second;
  await counts.stop();
  expect(folds).toEqual([10n, 20n, 25n, 26n]);
});
