/** A process is ready when all its parts have said so. */
import { expect, test } from 'vitest';
import { Readiness } from '../../../src/runtime/readiness.js';

test('parts are not ready until they say so', () => {
  const readiness = new Readiness(['database', 'sequencer']);
  expect(readiness.ready).toBe(false);
  readiness.set('database', true);
  expect(readiness.ready).toBe(false);
  readiness.set('sequencer', true, '3 entries behind');
  expect(readiness.ready).toBe(true);
  expect(readiness.parts()).toEqual({
    database: { ready: true, note: '' },
    sequencer: { ready: true, note: '3 entries behind' },
  });
});

test('a watcher wakes at a change, not at a repetition, and when it gives up', async () => {
  const readiness = new Readiness(['database']);
  const leaving = new AbortController();
  let woken = 0;
  const watch = () => readiness.changed(leaving.signal).then(() => woken++);

  const first = watch();
  readiness.set('database', false, 'starting');
  await Promise.resolve();
  expect(woken).toBe(0);
  readiness.set('database', true);
  await first;

  const second = watch();
  leaving.abort();
  await second;
  await watch();
  expect(woken).toBe(3);
});
