/** Calls of one key go one after the other; those of others do not wait for them. */
import { expect, it } from 'vitest';
import { Turns } from '../../../src/services/engine/flows/turns.js';

it('gives everybody a turn, also after one that failed', async () => {
  const turns = new Turns();
  const done: string[] = [];
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = turns.take('flow', async () => {
    await held;
    done.push('first');
    throw new Error('failed');
  });
  const second = turns.take('flow', async () => done.push('second'));
  await turns.take('other', async () => done.push('other'));
  release();
  await expect(first).rejects.toThrow('failed');
  await second;
  expect(done).toEqual(['other', 'first', 'second']);
});
