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
  await engine.createExecutions({ executions: Array.from({ length: 400 }, () => spec) });

  const claim = () =>
    engine.claimExecutions({ worker, lanes: [{ lane }], maxExecutions: 5, leaseDuration: durationFromMs(600_000) });
  expect((await claim()).claims.map(({ priority }) => priority)).toEqual([0, 0, 0, 0, 0]);
  await age(1_000);
  // Its age makes up for its priority after one interval; until it is claimed, nothing else can end this wait.
  await expect
    .poll(
      async () => {
        const { claims } = await claim();
        await completion.awaitExecutions({ executionIds: [lowId], timeout: durationFromMs(100) });
        return claims.map(({ executionId }) => executionId);
      },
      { timeout: 30_000, interval: 0 },
    )
    .toContain(lowId);
  const { lane: left } = await admin.getLane({ lane });
  expect(Number(left?.counts?.queued)).toBeGreaterThan(0);
});
