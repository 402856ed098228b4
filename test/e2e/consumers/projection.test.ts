/** The example of a read model is run: exact while it is kept, and rebuilt from scratch beside the one that is read from. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

test('a read model of flows is rebuilt beside the live one, and takes over with nothing missing', async () => {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/flow-projection.ts'], {
    env: { ...process.env, TAILRACE_URL: tailrace.url, DATABASE_URL: tailrace.database.url },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  expect(said.split('\n')).toEqual([
    'a title: { members: 2, succeeded: 2, failed: 0 }',
    'a verse: { members: 4, succeeded: 3, failed: 1 }',
    'an end: { members: 1, succeeded: 1, failed: 0 }',
    'generation 2 of flow-overview: all as before',
    '',
  ]);
  expect(code).toBe(0);
  const { consumer } = await tailrace.admin.getConsumer({ consumer: 'flow-overview' });
  expect(consumer?.generations).toMatchObject([{ generation: 2n, live: true, partCount: 4, lag: 0n }]);
});
