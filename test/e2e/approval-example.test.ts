/** Somebody follows the link that the example of an approval hands out, and somebody else one that he made up. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SuspensionReason } from '../../gen/tailrace/v1/signal_pb.js';
import { eventually } from '../support/eventually.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

async function post(link: string, decision: string): Promise<[number, string]> {
  const response = await fetch(link, { method: 'POST', body: new URLSearchParams({ decision }) });
  return [response.status, await response.text()];
}

test('a refund waits for the one who has the link, and for nobody else', async () => {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/approval.ts'], {
    env: { ...process.env, TAILRACE_URL: tailrace.url },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const asked = String((await lines.next()).value);
  const link = /^Refund 42 EUR\? (http:\S+)$/.exec(asked)?.[1] ?? '';

  const looked = await fetch(link);
  expect(await looked.text()).toContain('Approve');
  const parked = async () => (await tailrace.admin.listSuspendedExecutions({})).suspensions;
  await eventually(async () => (await parked()).length === 1);
  expect((await parked())[0]).toMatchObject({ reason: SuspensionReason.APPROVAL, note: 'Refund 42 EUR?' });

  const forged = link.slice(0, -2) + (link.endsWith('AA') ? 'BA' : 'AA');
  expect(await post(forged, 'approve')).toEqual([403, 'This link is not valid, or not any more.']);
  expect(await parked()).toHaveLength(1);

  expect(await post(link, 'approve')).toEqual([200, 'Approved.']);
  expect((await lines.next()).value).toBe('approved');
  expect(await exited).toEqual([0, null]);
});
