/** Claims of large inputs come in answers that every client takes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

test('one answer holds some megabytes of inputs, the rest stays in line, in order', async () => {
  const { engine } = tailrace;
  const text = 'x'.repeat(1024 * 1024);
  const created = await engine.createExecutions({
    executions: Array.from({ length: 8 }, () => ({
      type: 'large',
      input: { body: { case: 'text' as const, value: text } },
    })),
  });
  const ids = created.results.map(({ result }) => (result.case === 'ok' ? result.value.executionId : ''));
  const seen: string[] = [];
  const sizes: number[] = [];
  while (seen.length < ids.length) {
    const { claims } = await engine.claimExecutions({
      worker: { name: 'w' },
      maxExecutions: 100,
      wait: { seconds: 5n, nanos: 0 },
    });
    expect(claims.length).toBeGreaterThan(0);
    sizes.push(claims.length);
    for (const claim of claims) {
      expect(claim.attemptNumber).toBe(1);
      seen.push(claim.executionId);
    }
  }
  expect(seen).toEqual(ids);
  expect(Math.max(...sizes)).toBe(3);
});
