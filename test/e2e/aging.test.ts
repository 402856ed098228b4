/** Aging: what waits long enough overtakes, also from behind a backlog larger than any claim looks at. */
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

test('E3: low priority behind a long backlog does not starve in a lane with aging', async () => {
  const { engine, admin, completion } = tailrace;
  const lane = 'aging';
  const worker = { name: 'w' };
  const age = (ms: number) => admin.updateLane({ lane, settings: { agingInterval: durationFromMs(ms) } });
  await age(3_600_000);
  const spec = { type: 't', lane };
  const [low] = (await engine.createExecutions({ executions: [{ ...spec, priority: -1 }] })).results;
  const lowId = low?.result.case === 'ok' ? low.result.value.executionId : '';
  // Older than the others by more than the interval that follows, it makes up for its priority for good.
  const pass = (ms: number) => completion.awaitExecutions({ executionIds: [lowId], timeout: durationFromMs(ms) });
  await pass(1_500);
  await engine.createExecutions({ executions: Array.from({ length: 400 }, () => spec) });

  const claim = async (maxExecutions: number) => {
    const leaseDuration = durationFromMs(600_000);
    const { claims } = await engine.claimExecutions({ worker, lanes: [{ lane }], maxExecutions, leaseDuration });
    return claims.map(({ priority }) => priority);
  };
  expect(await claim(5)).toEqual([0, 0, 0, 0, 0]);
  await age(1_000);
  // Once the server has seen that there are two priorities, which it looks for each second.
  await expect
    .poll(
      async () => {
        await pass(50);
        return await claim(1);
      },
      { interval: 0 },
    )
    .toEqual([-1]);
  const { lane: left } = await admin.getLane({ lane });
  expect(Number(left?.counts?.queued)).toBeGreaterThan(0);
});
