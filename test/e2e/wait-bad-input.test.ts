/**
 * Proof 24, what types do not tell: conditions that are empty, impossible, too deep or too large, patches that are no objects
 * or cannot be kept, use below nothing, frames too large or too late. Each is refused by name and changes nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FrameMode } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type Condition, CountDistinct } from '../../gen/tailrace/v1/signal_pb.js';
import { type Init, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { allOf, named, operatorOnly, timeoutOnly, WaitsByHand } from '../support/waits-by-hand.js';

const long = { leaseDuration: seconds(600) };

let recorded: Recorded;
let hand: WaitsByHand;
let claim: Claim;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new WaitsByHand(recorded.clients);
  claim = await hand.claimNamed(await hand.createOne(), long);
});
afterAll(async () => {
  // Whatever was refused has left nothing: it still runs, waits for nothing, has used and written nothing.
  const { suspensionNumber } = await hand.suspend(claim, { timeout: seconds(60) });
  expect(suspensionNumber).toBe(1);
  const read = { executionId: claim.executionId };
  const { frames } = await recorded.clients.completion.readFrames(read);
  const { summary } = await recorded.clients.completion.getFrameSummary(read);
  const { attempts } = await recorded.clients.admin.listAttempts(read);
  expect([frames, summary?.version, attempts.map(({ usage }) => usage)]).toEqual([[], 0n, [{}]]);
  const { waitpoints } = await recorded.clients.admin.listPendingWaitpoints(read);
  expect(waitpoints).toEqual([]);
  await hand.cancel(claim.executionId);
  await recorded.stop();
});

const count = (count: number, distinct: CountDistinct, ...keys: string[]): Init<Condition> => ({
  condition: {
    case: 'count',
    value: { count, distinct, among: keys.map((waitpointKey) => ({ name: '', waitpointKey })) },
  },
});
const deep = (levels: number): Init<Condition> => (levels === 1 ? named('go') : allOf(deep(levels - 1)));
const many = (members: number, name = 'go') => allOf(...Array.from({ length: members }, () => named(name)));

describe('proof 24: a condition', () => {
  it.each<[string, Init<Condition>, string]>([
    ['of no kind', {}, 'condition'],
    ['with a member of no kind', allOf(named('go'), {}), 'condition.all_of.members[1]'],
    ['of all of nothing', allOf(), 'condition.all_of'],
    ['with a member of all of nothing', allOf(allOf()), 'condition.all_of.members[0].all_of'],
    ['that counts to nothing', count(0, CountDistinct.SIGNALS), 'condition.count'],
    ['that counts below nothing', count(-1, CountDistinct.SOURCES), 'condition.count'],
    ['that counts beyond all signals', count(10_001, CountDistinct.SIGNALS), 'condition.count'],
    ['that counts more waitpoints than it names', count(3, CountDistinct.WAITPOINTS, 'a', 'b', 'a'), 'condition.count'],
    ['with an operator within', allOf(operatorOnly), 'condition.all_of.members[0].operator_only'],
    ['with a timeout within', allOf(timeoutOnly), 'condition.all_of.members[0].timeout_only'],
    ['five deep', deep(5), `condition${'.all_of.members[0]'.repeat(4)}.signal`],
    ['forty deep', deep(40), `condition${'.all_of.members[0]'.repeat(4)}`],
    ['of too many members', many(65), 'condition.all_of'],
    ['too large', many(60, 'x'.repeat(190)), 'condition'],
    ['that only time ends, without a time', timeoutOnly, 'timeout'],
  ])('%s', async (_, condition, field) => {
    const told = await refusal(hand.suspend(claim, { condition }));
    expect(told.reason).toBe('INVALID_FIELD');
    expect(told.fieldViolations.some((violation) => violation.field.startsWith(field))).toBe(true);
    expect(await hand.state(claim.executionId)).toBe(ExecutionState.RUNNING);
  });

  it('as deep as may be, or as wide, is none of them', async () => {
    for (const condition of [deep(4), many(64)]) {
      const other = await hand.claimNamed(await hand.createOne(), long);
      expect((await hand.suspend(other, { condition })).suspended).toBe(true);
      await hand.cancel(other.executionId);
    }
  });
});

describe('proof 24: a patch', () => {
  it.each<[string, string]>([
    ['that is a list', '[1]'],
    ['that is text', '"a"'],
    ['that is a number', '5'],
    ['that is null', 'null'],
    ['that is nothing', ''],
    ['that is no JSON', '{"a"'],
    ['that is two', '{}{}'],
    ['with NUL in a key', '{"a\\u0000": 1}'],
    ['with NUL in a value', '{"a": ["\\u0000"]}'],
    ['with half a surrogate pair', '{"a": "\\ud800"}'],
    ['with a number beyond all numbers', `{"a": 1e${'9'.repeat(6)}}`],
    ['that is too deep', `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`],
  ])('%s', async (_, patch) => {
    const frames = [
      { type: 'word', payload: text('before') },
      { mode: FrameMode.SUMMARY, payload: text(patch) },
    ];
    const told = await refusal(hand.append(claim, { frames }));
    expect(told.reason).toBe('INVALID_FIELD');
    expect(told.fieldViolations.map(({ field }) => field).join()).toMatch(/^frames\[1\]\.payload/);
  });
});

describe('proof 24: use', () => {
  it.each<[string, Record<string, bigint>]>([
    ['below nothing', { coins: -1n }],
    ['below nothing beside other', { words: 1n, coins: -(2n ** 63n) }],
    ['of nothing', {}],
    ['of a dimension without name', { '': 1n }],
    ['of too many dimensions', Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`d${i}`, 1n]))],
  ])('%s', async (_, usage) => {
    for (const call of [() => hand.report(claim, usage), () => hand.giveBack(claim.executionId, usage)]) {
      const told = await refusal(call());
      expect(told.reason).toBe('INVALID_FIELD');
      expect(told.fieldViolations.every(({ field }) => field.startsWith('usage'))).toBe(true);
    }
  });

  it('of all there is counts as much as it may, and no more', async () => {
    const most = 2n ** 63n - 1n;
    const lane = 'rich';
    await hand.putBudget({
      name: 'rich',
      limits: { coins: { hardLimit: most } },
      attachments: [{ subject: { case: 'lane', value: lane } }],
    });
    const other = await hand.claimNamed(await hand.createOne({ lane }), long);
    await hand.report(other, { coins: 1n });
    expect((await refusal(hand.report(other, { coins: most }))).reason).toBe('BUDGET_EXCEEDED');
    await hand.report(other, { coins: most - 1n });
    expect((await refusal(hand.report(other, { coins: 1n }))).reason).toBe('BUDGET_EXCEEDED');
    expect((await hand.budget('rich')).uses).toMatchObject([{ used: most }]);
    await hand.complete(other);
  });
});

describe('proof 24: a frame', () => {
  it('over 64 KiB, among others', async () => {
    const told = await refusal(hand.write(claim, ['small', 'x'.repeat(65_537)]));
    expect(told).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE', metadata: { limit: '65536' } });
  });

  it('after its attempt was parked, and after it has ended', async () => {
    const other = await hand.claimNamed(await hand.createOne(), long);
    await hand.write(other, ['in time']);
    await hand.suspend(other);
    expect((await refusal(hand.write(other, ['parked']))).reason).toBe('LEASE_LOST');
    await hand.signal(other.executionId);
    const resumed = await hand.claimNamed(other.executionId, long);
    expect((await refusal(hand.write(other, ['under the old lease']))).reason).toBe('LEASE_LOST');
    expect((await hand.write(resumed, ['in time again'])).count).toBe(2n);
    await hand.complete(resumed);
    expect((await refusal(hand.write(resumed, ['too late']))).reason).toBe('EXECUTION_TERMINAL');
    const { frames } = await recorded.clients.completion.readFrames({ executionId: other.executionId });
    expect(frames).toHaveLength(2);
  });
});
