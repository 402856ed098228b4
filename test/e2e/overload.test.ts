/** A flood of new work is refused in time and typed, while what ends work goes on; whoever repeats gets in. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { asTailraceError, Client, type TailraceError } from '../../src/client/index.js';
import { leaseOf } from '../support/by-hand.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const LIMIT = 16;
const FLOOD = 150;
let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace({ environment: { TAILRACE_MAX_CALLS: String(LIMIT) } });
});
afterAll(() => tailrace.stop());

test('completions pass a flood of creations, and every creation is answered', async () => {
  const { engine } = tailrace;
  await engine.createExecutions({ executions: Array.from({ length: 40 }, () => ({ lane: 'old', type: 'work' })) });
  const { claims } = await engine.claimExecutions({
    worker: { name: 'w', instanceId: 'one' },
    lanes: [{ lane: 'old' }],
    maxExecutions: 40,
    leaseDuration: { seconds: 60n, nanos: 0 },
  });
  expect(claims).toHaveLength(40);

  const refused: TailraceError[] = [];
  let made = 0;
  const flood = Array.from({ length: FLOOD }, async () => {
    try {
      await engine.createExecutions({ executions: [{ lane: 'new', type: 'work' }] });
      made++;
    } catch (error) {
      refused.push(asTailraceError(error));
    }
  });
  for (const claim of claims) {
    const { results } = await engine.completeExecutions({ completions: [{ lease: leaseOf(claim) }] });
    expect(results.map(({ result }) => result.case)).toEqual(['ok']);
  }
  await Promise.all(flood);
  expect(made).toBeGreaterThan(0);
  expect(refused.length).toBeGreaterThan(0);
  for (const { reason, metadata, retryDelayMs } of refused) {
    expect([reason, metadata['why']]).toEqual(['OVERLOADED', 'requests']);
    expect(retryDelayMs).toBeGreaterThanOrEqual(1_000);
  }
  expect(made + refused.length).toBe(FLOOD);
});

test('the client library comes again when it is told to, until it gets in', async () => {
  const client = new Client({ url: tailrace.url, retryForMs: 30_000 });
  const made = await Promise.all(
    Array.from({ length: 60 }, (_, index) => client.create({ lane: 'repeated', type: 'work', input: { index } })),
  );
  expect(new Set(made.map(({ executionId }) => executionId)).size).toBe(60);
  client.close();
});
