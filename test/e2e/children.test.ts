/** WaitForChildren: spawn and park in one call, and go on with the same attempt once the children's join has decided. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, JoinState, OnJoinTimeout, OnSatisfied, SlotOutcome } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { leaseOf, only, refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { WAITING_CHILDREN, QUEUED, CANCELED, EXPIRED, SUCCEEDED } = ExecutionState;
const { OK, FAILED } = SlotOutcome;
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: FlowsByHand;
let lanes = 0;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

/** A parent that has spawned, and how its children are claimed. */
class Family {
  readonly lane = `family ${++lanes}`;
  children: readonly string[] = [];
  join = '';

  constructor(readonly claim: Claim) {}

  static async of(names: readonly string[], policy = {}, spec = {}, optional: readonly string[] = []): Promise<Family> {
    const parent = await hand.createOne({ type: 'parent', ...spec });
    const family = new Family(await hand.claimNamed(parent, long));
    await family.wait(names, policy, optional);
    return family;
  }

  async wait(names: readonly string[], policy = {}, optional: readonly string[] = []): Promise<boolean> {
    const specs = names.map((type) => ({ execution: { type, lane: this.lane }, optional: optional.includes(type) }));
    const answer = await hand.waitForChildren(this.claim, specs, policy);
    expect(answer.state).toBe(WAITING_CHILDREN);
    this.children = answer.childExecutionIds;
    this.join = answer.joinId;
    return answer.duplicate;
  }

  get parent(): string {
    return this.claim.executionId;
  }

  async child(type: string): Promise<Claim> {
    return only(await hand.claim({ lanes: [{ lane: this.lane }], types: [type], ...long }));
  }

  /** Once it is claimable again. */
  async resumed(): Promise<Claim> {
    const moved = (entry: { executionId: string; fromState: ExecutionState; toState: ExecutionState }) =>
      entry.executionId === this.parent && entry.fromState === WAITING_CHILDREN && entry.toState === QUEUED;
    const times = 1 + (this.claim.resume?.suspensionNumber ?? 0);
    await recorded.log.until(({ entries }) => entries.filter(moved).length >= times);
    return await hand.claimNamed(this.parent, long);
  }
}

describe('a parent that waits', () => {
  it('has given its lease up, and goes on with the same attempt under a higher token', async () => {
    const family = await Family.of(['a', 'b']);
    expect(await hand.state(family.parent)).toBe(WAITING_CHILDREN);
    expect((await refusal(hand.renew(family.claim))).reason).toBe('LEASE_LOST');
    expect((await refusal(hand.complete(family.claim))).reason).toBe('LEASE_LOST');
    const a = await family.child('a');
    expect(a).toMatchObject({ parentExecutionId: family.parent, attemptNumber: 1 });
    await hand.complete(a, 'of a');
    expect(await hand.state(family.parent)).toBe(WAITING_CHILDREN);
    await hand.complete(await family.child('b'), 'of b');
    const claim = await family.resumed();
    expect(claim).toMatchObject({
      attemptNumber: family.claim.attemptNumber,
      attemptKind: family.claim.attemptKind,
      failureCount: 0,
      resume: { suspensionNumber: 1 },
      joinedInputs: [
        { name: 'a', index: 0, outcome: OK, executionId: family.children[0], payload: { body: { value: 'of a' } } },
        { name: 'b', index: 1, outcome: OK, executionId: family.children[1], payload: { body: { value: 'of b' } } },
      ],
    });
    expect(claim.lease?.fencingToken ?? 0n).toBeGreaterThan(family.claim.lease?.fencingToken ?? 0n);
    expect(claim.lease?.leaseId).not.toBe(family.claim.lease?.leaseId);
    expect((await refusal(hand.complete(family.claim))).reason).toBe('LEASE_LOST');
    await hand.complete(claim);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: family.parent });
    expect(only(attempts)).toMatchObject({ attemptNumber: 1, outcome: AttemptOutcome.SUCCEEDED });
  });

  it('may wait again and again', async () => {
    const family = await Family.of(['first']);
    await hand.complete(await family.child('first'));
    const second = new Family(await family.resumed());
    await second.wait(['second']);
    await hand.complete(await second.child('second'), 'two');
    const claim = await second.resumed();
    expect(claim).toMatchObject({ attemptNumber: 1, resume: { suspensionNumber: 2 } });
    expect(claim.joinedInputs).toMatchObject([{ name: 'second' }]);
    await hand.complete(claim);
  });

  it('is told which children failed, when its join is impossible', async () => {
    const family = await Family.of(['good', 'bad', 'slow']);
    await hand.complete(await family.child('good'));
    await hand.fail(await family.child('bad'), 2);
    const claim = await family.resumed();
    expect(claim.joinedInputs).toMatchObject([
      { outcome: OK },
      { outcome: FAILED, failure: { message: 'it broke' } },
      {},
    ]);
    expect((await hand.joinOf(family.parent)).state).toBe(JoinState.IMPOSSIBLE);
    await hand.complete(claim);
    await hand.complete(await family.child('slow'));
  });

  it('does without optional ones, and may ask for any', async () => {
    const family = await Family.of(['good', 'bad'], {}, {}, ['bad']);
    await hand.fail(await family.child('bad'), 2);
    await hand.complete(await family.child('good'));
    await hand.complete(await family.resumed());
    expect((await hand.joinOf(family.parent)).state).toBe(JoinState.SATISFIED);
  });

  it('cancels the rest of its children when it asked for that', async () => {
    const family = await Family.of(['a', 'b', 'c'], { mode: JoinMode.ANY, onSatisfied: OnSatisfied.CANCEL_REST });
    await hand.complete(await family.child('b'));
    await hand.complete(await family.resumed());
    for (const [i, id] of family.children.entries()) {
      if (i !== 1)
        expect((await hand.end(id)).outcome).toMatchObject({ state: CANCELED, reason: EndReason.JOIN_SATISFIED });
    }
  });

  it('goes on with what is there when its time is up, or fails with a dead letter', async () => {
    const partial = { timeout: seconds(5), onTimeout: OnJoinTimeout.RELEASE_PARTIAL };
    const [goesOn, fails] = await Promise.all([
      Family.of(['a', 'b'], partial),
      Family.of(['a', 'b'], { timeout: seconds(1) }),
    ]);
    await hand.complete(await goesOn.child('a'));
    const claim = await goesOn.resumed();
    expect(claim.joinedInputs).toMatchObject([{ outcome: OK }, { outcome: SlotOutcome.UNSPECIFIED }]);
    await hand.complete(claim);
    const { outcome } = await hand.end(fails.parent);
    expect(outcome).toMatchObject({ state: ExecutionState.FAILED, reason: EndReason.JOIN_EXPIRED });
    expect(outcome?.deadLetterId).not.toBe('');
  });
});

describe('a repeated call', () => {
  it('answers the first answer, until the parent is claimed again', async () => {
    const family = await Family.of(['a']);
    const { children, join } = family;
    expect(await family.wait(['a'])).toBe(true);
    expect(family).toMatchObject({ children, join });
    expect(await refusal(family.wait(['other']))).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'other_content' },
    });
    await hand.complete(await family.child('a'));
    const claim = await family.resumed();
    expect((await refusal(family.wait(['a']))).reason).toBe('LEASE_LOST');
    await hand.complete(claim);
  });

  it('of a parent that was canceled meanwhile says so', async () => {
    const family = await Family.of(['a']);
    await hand.cancel(family.parent, { policy: { mode: CancelMode.NOW } });
    expect((await refusal(family.wait(['a']))).reason).toBe('EXECUTION_TERMINAL');
  });
});

describe('children', () => {
  const now = { policy: { mode: CancelMode.NOW } };
  const ended = { state: CANCELED, reason: EndReason.PARENT_ENDED };

  it.each<[string, object, (family: Family) => Promise<unknown>, ExecutionState]>([
    ['is canceled', {}, (family) => hand.cancel(family.parent, now), CANCELED],
    ['expires', { expires: true }, (family) => hand.end(family.parent), EXPIRED],
  ])('are canceled when their parent %s', async (_, { expires }: { expires?: boolean }, end, state) => {
    const spec = expires ? { deadlineTime: timestampFromMs(wallMs() + 6_000) } : {};
    const family = await Family.of(['runs', 'due'], {}, spec);
    const running = await family.child('runs');
    await end(family);
    expect((await hand.end(family.parent)).outcome?.state).toBe(state);
    expect((await hand.end(family.children[1] ?? '')).outcome).toMatchObject(ended);
    if (expires) await hand.fail(running, 5).catch(() => undefined);
    expect((await hand.end(family.children[0] ?? '')).outcome?.state).toBe(CANCELED);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: family.parent });
    expect(only(attempts).outcome).not.toBe(AttemptOutcome.UNSPECIFIED);
    expect((await hand.joinOf(family.parent)).state).toBe(JoinState.ABANDONED);
  });

  it('are named in the answer of their parent’s cancellation', async () => {
    const family = await Family.of(['a', 'b']);
    const { children } = await hand.cancel(family.parent, now);
    expect(children.map(({ executionId }) => executionId).sort()).toEqual([...family.children].sort());
    for (const id of family.children) await hand.end(id);
  });

  it('belong to the flow of their parent, sealed or not', async () => {
    const flow = await hand.flow({ members: { parent: {} } });
    const claim = await flow.claim('parent', long);
    const { childExecutionIds } = await hand.waitForChildren(claim, [
      { execution: { type: 'child', lane: flow.lane } },
    ]);
    expect((await flow.get()).state).toBe(FlowState.ACTIVE);
    const child = await flow.claim('child');
    expect(child).toMatchObject({ flowId: flow.id, parentExecutionId: flow.of('parent') });
    await hand.complete(child);
    await flow.complete('parent');
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
    const { members } = await recorded.clients.admin.listFlowMembers({ flowId: flow.id });
    expect(members.map(({ executionId }) => executionId)).toEqual([flow.of('parent'), ...childExecutionIds]);
  });

  it('of a completion are made with it, and nobody waits for them', async () => {
    const flow = await hand.flow({ members: { parent: {} } });
    const claim = await flow.claim('parent', long);
    const children = [{ type: 'child', lane: flow.lane }];
    const complete = async () =>
      only(
        (await recorded.clients.engine.completeExecutions({ completions: [{ lease: leaseOf(claim), children }] }))
          .results,
      );
    const first = (await complete()).result;
    const again = (await complete()).result;
    if (first.case !== 'ok' || again.case !== 'ok') throw new Error('refused');
    expect(again.value).toMatchObject({ duplicate: true, childExecutionIds: first.value.childExecutionIds });
    expect((await flow.end('parent')).state).toBe('SUCCEEDED');
    expect((await flow.get()).settled).toBe(false);
    const child = await flow.claim('child');
    expect(child.executionId).toBe(only(first.value.childExecutionIds));
    await hand.complete(child);
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('may have children of their own', async () => {
    const family = await Family.of(['child']);
    const child = new Family(await family.child('child'));
    await child.wait(['grandchild']);
    await hand.complete(await child.child('grandchild'));
    await hand.complete(await child.resumed());
    await hand.complete(await family.resumed());
    expect((await hand.look(family.parent)).outcome?.state).toBe(SUCCEEDED);
  });
});
