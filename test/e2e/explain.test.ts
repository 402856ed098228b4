/** ExplainExecution where a limit, a key, a budget or a suspension holds an execution: which, how far, until when. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import { BlockKind } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { HoldKind, TimerKind } from '../../gen/tailrace/v1/explain_pb.js';
import { CountDistinct, SuspensionReason, SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { ByHand, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { Recorded } from '../support/history/recorded.js';
import { allOf, named, operatorOnly, timeoutOnly, WaitsByHand } from '../support/waits-by-hand.js';

let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new WaitsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const explain = (executionId: string, namespace = '') =>
  recorded.clients.admin.explainExecution({ executionId, namespace });

/** A lane that somebody works on, so that nothing but what the test brings about holds anything there. */
async function laneOf(name: string, by: ByHand = hand) {
  await by.claim({ lanes: [{ lane: name }], wait: seconds(0) });
  return { lanes: [{ lane: name }] };
}

describe('claimable work', () => {
  it('is held by the limit of its lane', async () => {
    const lane = 'running';
    const from = await laneOf(lane);
    await hand.setLane(lane, { concurrencyLimit: 2 });
    const ids = await hand.create({ lane }, { lane }, { lane });
    const claims = await hand.claim({ ...from, maxExecutions: 5 });
    expect(claims).toHaveLength(2);
    const waits = ids.at(-1) ?? '';
    const held = await explain(waits);
    expect(held).toMatchObject({
      state: ExecutionState.QUEUED,
      holds: [{ kind: HoldKind.CONCURRENCY_LIMIT, subject: lane, current: 2n, limit: 2n }],
      summary: expect.stringMatching(/2 executions of lane running run, as many as may \(2\)/),
    });
    expect(held.holds[0]).not.toHaveProperty('untilTime');
    expect(await refusal(hand.claimNamed(waits))).toMatchObject({ reason: 'QUOTA_EXCEEDED' });
    for (const claim of claims) await hand.complete(claim);
    expect(await explain(waits)).toMatchObject({ holds: [{ kind: HoldKind.IN_LINE }] });
    await hand.complete(await hand.claimOne(from));
  });

  it('is held by the rate of its lane, until a start has left the window', async () => {
    const lane = 'starting';
    const from = await laneOf(lane);
    await hand.setLane(lane, { rateLimit: { limit: 1, window: seconds(60) } });
    const [, second = ''] = await hand.create({ lane }, { lane });
    await hand.complete(await hand.claimOne(from));
    const before = wallMs();
    const held = await explain(second);
    expect(held).toMatchObject({
      holds: [{ kind: HoldKind.RATE_LIMIT, subject: lane, current: 1n, limit: 1n }],
      summary: expect.stringMatching(/have started in the last 60 s, as many as may \(1\)/),
    });
    const until = held.holds[0]?.untilTime;
    expect(until && timestampDate(until).getTime()).toBeGreaterThan(before + 30_000);
    const refused = await refusal(hand.claimNamed(second));
    expect(refused.reason).toBe('QUOTA_EXCEEDED');
    expect(refused.retryDelay?.seconds).toBeGreaterThan(30n);
    await hand.setLane(lane, {});
    await hand.complete(await hand.claimNamed(second));
  });

  it('is held by the limits of its namespace, and by everything else at once', async () => {
    const namespace = 'crowded';
    const other = new ByHand(recorded.clients, 'hand', 'hand', namespace);
    const lane = 'quiet';
    const from = await laneOf(lane, other);
    await recorded.clients.admin.putQuota({
      namespace,
      concurrencyLimit: 1,
      rateLimit: { limit: 1, window: seconds(60) },
    });
    await recorded.clients.admin.putQuota({ namespace, lane, concurrencyLimit: 1 });
    const [, second = ''] = await other.create({ lane }, { lane });
    const claim = await other.claimOne(from);
    const { holds } = await explain(second, namespace);
    expect(holds.map(({ kind, subject }) => [kind, subject])).toEqual([
      [HoldKind.CONCURRENCY_LIMIT, lane],
      [HoldKind.CONCURRENCY_LIMIT, ''],
      [HoldKind.RATE_LIMIT, ''],
    ]);
    await recorded.clients.admin.pauseLane({ namespace, lane });
    expect((await explain(second, namespace)).holds.map(({ kind }) => kind)).toEqual([
      HoldKind.LANE_PAUSED,
      HoldKind.CONCURRENCY_LIMIT,
      HoldKind.CONCURRENCY_LIMIT,
      HoldKind.RATE_LIMIT,
    ]);
    await other.complete(claim);
    await other.cancel(second);
  });
});

describe('work that waits for its key', () => {
  it('knows who holds it and its place among those that wait', async () => {
    const lane = 'keyed';
    const from = await laneOf(lane);
    await hand.setLane(lane, { defaultKeyLimit: 2 });
    const keyed = (priority: number) => ({ lane, concurrencyKey: 'k', priority });
    await hand.create(keyed(0), keyed(0));
    const [low = '', high = '', lowest = ''] = await hand.create(keyed(0), keyed(5), keyed(-1));
    const claim = await hand.claimOne(from);
    const about = async (id: string) => {
      const { state, holds, summary } = await explain(id);
      return {
        state,
        kind: holds[0]?.kind,
        subject: holds[0]?.subject,
        current: holds[0]?.current,
        limit: holds[0]?.limit,
        summary,
      };
    };
    const held = {
      state: ExecutionState.BLOCKED,
      kind: HoldKind.CONCURRENCY_KEY,
      subject: 'k',
      current: 2n,
      limit: 2n,
    };
    for (const [id, place] of [
      [high, 1],
      [low, 2],
      [lowest, 3],
    ] as const) {
      expect(await about(id)).toEqual({
        ...held,
        summary:
          'It waits for its concurrency key k: 1 of it run and 1 stand in line, as many as may (2); of those that wait it ' +
          `is number ${place}.`,
      });
    }
    await hand.complete(claim);
    expect(await about(high)).toMatchObject({ state: ExecutionState.QUEUED, kind: HoldKind.IN_LINE });
    expect((await about(low)).summary).toContain('number 1');
    await hand.setLane(lane, { keyLimits: [{ key: 'k', limit: 4 }] });
    for (const id of [low, lowest]) expect(await about(id)).toMatchObject({ kind: HoldKind.IN_LINE });
    for (let i = 0; i < 4; i++) await hand.complete(await hand.claimOne(from));
  });
});

describe('work whose budget is used up', () => {
  it('names the budget, its use, and when that starts anew', async () => {
    const lane = 'spending';
    const from = await laneOf(lane);
    await hand.putBudget({
      name: 'daily',
      limits: { tokens: { hardLimit: 10n } },
      attachments: [{ subject: { case: 'lane', value: lane } }],
      resetWindow: seconds(86_400),
    });
    const [, queued = ''] = await hand.create({ lane }, { lane });
    const scheduled = await hand.createOne({ lane, delay: seconds(600) });
    const claim = await hand.claimOne(from);
    await hand.report(claim, { tokens: 10n });
    const held = { kind: HoldKind.BUDGET, subject: 'daily', current: 10n, limit: 10n };
    await eventually(async () => (await explain(queued)).state === ExecutionState.BLOCKED);
    const explained = await explain(queued);
    expect(explained).toMatchObject({
      holds: [held],
      summary: expect.stringContaining('Budget daily is used up: 10 of 10 tokens'),
    });
    expect(explained.holds[0]).toHaveProperty('untilTime');
    expect(await hand.execution(queued)).toMatchObject({ block: { kind: BlockKind.BUDGET, subject: 'daily' } });
    expect((await explain(scheduled)).holds).toMatchObject([{ kind: HoldKind.RUN_TIME }, held]);
    const late = await hand.createOne({ lane });
    expect((await explain(late)).holds).toMatchObject([held]);
    await recorded.clients.admin.resetBudget({ budget: 'daily' });
    await hand.complete(claim);
    for (let i = 0; i < 2; i++) await hand.complete(await hand.claimOne(from));
    expect(await explain(late)).toMatchObject({ holds: [{ kind: HoldKind.TERMINAL }] });
    await hand.cancel(scheduled);
  });

  it('names the budget that parked it', async () => {
    const lane = 'parking';
    const from = await laneOf(lane);
    await hand.putBudget({
      name: 'parks',
      limits: { tokens: { hardLimit: 10n } },
      attachments: [{ subject: { case: 'lane', value: lane } }],
      breachPolicy: BudgetBreachPolicy.SUSPEND,
    });
    const id = await hand.createOne({ lane });
    const claim = await hand.claimOne(from);
    expect(await refusal(hand.report(claim, { tokens: 11n }))).toMatchObject({ reason: 'BUDGET_EXCEEDED' });
    expect(await explain(id)).toMatchObject({
      state: ExecutionState.SUSPENDED,
      holds: [
        { kind: HoldKind.SUSPENSION, message: expect.stringMatching(/parked \(POLICY\).*budget parks/) },
        { kind: HoldKind.BUDGET, subject: 'parks' },
      ],
    });
    expect(await hand.execution(id)).toMatchObject({ suspension: { reason: SuspensionReason.POLICY } });
    await hand.cancel(id);
  });
});

describe('parked work', () => {
  it('lacks what it still lacks of its condition', async () => {
    const lane = 'parked';
    const from = await laneOf(lane);
    const id = await hand.createOne({ lane });
    const claim = await hand.claimOne(from);
    const votes = {
      condition: {
        case: 'count' as const,
        value: { count: 2, distinct: CountDistinct.SOURCES, among: [{ name: 'vote' }] },
      },
    };
    await hand.suspend(claim, {
      condition: allOf(named('approved'), votes, named('')),
      reason: SuspensionReason.APPROVAL,
      timeout: seconds(600),
      timeoutBehavior: SuspensionTimeoutBehavior.ESCALATE,
    });
    const about = async () => (await explain(id)).summary;
    expect(await about()).toMatch(
      /It is parked \(APPROVAL\) and waits for signal approved, 2 distinct sources among signal vote \(0 so far\), any signal\./,
    );
    await hand.signal(id, 'vote', { sourceId: 'a' });
    await hand.signal(id, 'vote', { sourceId: 'a' });
    expect(await about()).toContain(
      'waits for signal approved, 2 distinct sources among signal vote (1 so far). Its time is up',
    );
    await hand.signal(id, 'vote', { sourceId: 'b' });
    expect(await about()).toMatch(/waits for signal approved\. Its time is up at .*; then it waits for an operator\.$/);
    const explained = await explain(id);
    expect(explained).toMatchObject({
      state: ExecutionState.SUSPENDED,
      holds: [{ kind: HoldKind.SUSPENSION, subject: '1' }],
      nextTimer: { kind: TimerKind.SUSPENSION },
    });
    expect(explained.nextTimer?.fireTime).toEqual(explained.holds[0]?.untilTime);
    const shown = await hand.execution(id);
    expect(shown).toMatchObject({
      state: ExecutionState.SUSPENDED,
      attemptCount: 1,
      suspension: { suspensionNumber: 1, reason: SuspensionReason.APPROVAL, satisfierCount: 2 },
    });
    expect(shown.stateTime).toEqual(shown.suspension?.suspendTime);
    const { executions } = await recorded.clients.admin.listExecutions({
      filter: { lanes: [lane], states: [ExecutionState.SUSPENDED] },
    });
    expect(executions).toMatchObject([{ executionId: id, suspension: { suspensionNumber: 1 } }]);
    const { attempts } = await recorded.clients.admin.listAttempts({ lane });
    expect(attempts).toMatchObject([{ executionId: id, attemptNumber: 1, outcome: 0 }]);
    await hand.signal(id, 'approved');
    expect(await explain(id)).toMatchObject({ holds: [{ kind: HoldKind.IN_LINE }] });
    await hand.complete(await hand.claimOne(from));
  });

  it('waits for people or time where it says so, and for the operator once it has escalated', async () => {
    const lane = 'waiting';
    const from = await laneOf(lane);
    const about = async (condition: object, more: object = {}) => {
      const id = await hand.createOne({ lane });
      await hand.suspend(await hand.claimOne(from), { condition, ...more });
      return id;
    };
    const byOperator = await about(operatorOnly);
    expect((await explain(byOperator)).summary).toBe("It is parked (SIGNAL) and waits for an operator's word.");
    expect(await explain(byOperator)).not.toHaveProperty('nextTimer');
    const byTime = await about(timeoutOnly, {
      timeout: seconds(900),
      timeoutBehavior: SuspensionTimeoutBehavior.RESUME,
    });
    expect((await explain(byTime)).summary).toMatch(
      /waits for its time to be up\. Its time is up at .*; then it goes on\.$/,
    );
    const escalates = await about(named('go'), {
      timeout: seconds(0.1),
      timeoutBehavior: SuspensionTimeoutBehavior.ESCALATE,
      reason: SuspensionReason.CALLBACK,
    });
    await eventually(async () => (await hand.execution(escalates)).suspension?.escalated === true);
    const escalated = await explain(escalates);
    expect(escalated.summary).toBe(
      "It is parked (OPERATOR_REVIEW, after its time was up) and waits for an operator's word.",
    );
    expect(escalated.holds[0]).not.toHaveProperty('untilTime');
    expect(escalated).not.toHaveProperty('nextTimer');
    for (const id of [byOperator, byTime, escalates]) await hand.cancel(id);
  });
});
