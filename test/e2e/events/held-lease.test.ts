/** A completion whose lease somebody else has locked for a moment, as a renewal or a sweep does. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { ByHand, leaseOf, ok, seconds, text } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { HeldRows } from '../../support/held-rows.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ByHand(tailrace);
});
afterAll(() => tailrace.stop());

const running = async (): Promise<Claim> =>
  await hand.claimNamed(await hand.createOne({}), { leaseDuration: seconds(60) });

const told = { events: [{ type: 'told', stream: 'orders' }] };
const framed = { frames: [{ mode: FrameMode.DURABLE, frameType: 'line', payload: text('the last') }] };

/** One call: the first completion waits for the row; meanwhile the lease of the second becomes free again. */
async function completeBehind(
  row: readonly [table: string, column: string, id: string],
  first: readonly [Claim, object],
  second: readonly [Claim, object],
) {
  const [rowHeld, leaseHeld] = [await HeldRows.start(tailrace.database), await HeldRows.start(tailrace.database)];
  try {
    await rowHeld.hold(...row);
    await leaseHeld.hold('lease', 'execution', second[0].executionId);
    const completions = [first, second].map(([claim, more]) => ({ lease: leaseOf(claim), ...more }));
    const answer = tailrace.engine.completeExecutions({ completions });
    await eventually(
      async () =>
        (await rowHeld.keepsWaiting('complete_with_events')) || (await rowHeld.keepsWaiting('complete_with_frames')),
    );
    await leaseHeld.release();
    await rowHeld.release();
    const [, taken] = (await answer).results.map(ok);
    return taken;
  } catch (error) {
    await Promise.allSettled([leaseHeld.release(), rowHeld.release()]);
    throw error;
  }
}

test('is not recorded without its events', async () => {
  await tailrace.engine.completeExecutions({ completions: [{ lease: leaseOf(await running()), ...told }] });
  const emits = { events: [{ type: 'kept' }, { type: 'kept too' }] };
  const taken = await completeBehind(['stream', 'name', 'orders'], [await running(), told], [await running(), emits]);
  expect(taken?.eventIds).toHaveLength(2);
});

test('is not recorded without its last frames', async () => {
  const [first, second] = [await running(), await running()];
  await tailrace.engine.appendFrames({ lease: leaseOf(first), ...framed });
  await completeBehind(['frame_head', 'execution', first.executionId], [first, framed], [second, framed]);
  const { executionId, attemptNumber } = second;
  const read = await tailrace.completion.readFrames({ executionId, attemptNumber });
  expect(read.frames.map(({ payload }) => payload?.body.value)).toEqual(['the last']);
});
