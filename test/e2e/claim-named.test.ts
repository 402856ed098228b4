/** Claiming one named execution, and leases that must be begun in time (E4). */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { ByHand, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { QUEUED, RUNNING } = ExecutionState;

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

describe('E4: a named execution', () => {
  it('is claimed for the worker that is named, whoever calls, past everything ahead of it', async () => {
    const lane = 'named';
    await hand.create({ lane, priority: 1_000 }, { lane });
    const id = await hand.createOne({ lane, type: 'chosen', input: text('x'), tags: { a: 'b' }, priority: -3 });
    const chosen = { name: 'chosen', instanceId: 'chosen by a scheduler' };
    const claim = await hand.claimNamed(id, { worker: chosen });
    expect(claim).toMatchObject({
      executionId: id,
      type: 'chosen',
      lane,
      priority: -3,
      tags: { a: 'b' },
      attemptNumber: 1,
      attemptKind: AttemptKind.INITIAL,
      idempotencyKey: id,
      input: { body: { case: 'text', value: 'x' } },
    });
    const { execution } = await recorded.clients.admin.getExecution({ executionId: id });
    expect(execution?.lease).toMatchObject({ worker: chosen, fencingToken: claim.lease?.fencingToken });
    await hand.complete(claim);
  });

  it('is given to one of many who ask at once', async () => {
    const id = await hand.createOne({ lane: 'contested' });
    const answers = await Promise.allSettled(Array.from({ length: 20 }, () => hand.claimNamed(id)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === 'fulfilled') continue;
      expect(await refusal(Promise.reject(answer.reason))).toMatchObject({
        reason: 'WRONG_STATE',
        metadata: { state: 'RUNNING' },
      });
    }
  });
});

describe('E4: a refusal names its cause', () => {
  it('an execution that does not exist, here or in this namespace', async () => {
    await expect(refusal(hand.claimNamed(uuidV7()))).resolves.toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    const stranger = new ByHand(recorded.clients, 'stranger', 'stranger', 'elsewhere');
    await stranger.createOne();
    const id = await hand.createOne({ lane: 'mine' });
    await expect(refusal(stranger.claimNamed(id))).resolves.toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    expect(await hand.state(id)).toBe(QUEUED);
  });

  it('one that is not due', async () => {
    const id = await hand.createOne({ delay: seconds(60) });
    await expect(refusal(hand.claimNamed(id))).resolves.toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { execution_id: id, state: 'SCHEDULED' },
    });
  });

  it('one that has ended', async () => {
    const id = await hand.createOne();
    await hand.complete(await hand.claimNamed(id));
    await expect(refusal(hand.claimNamed(id))).resolves.toMatchObject({
      reason: 'EXECUTION_TERMINAL',
      metadata: { state: 'SUCCEEDED' },
    });
  });

  it('a lane that is paused', async () => {
    const { admin } = recorded.clients;
    const id = await hand.createOne({ lane: 'paused' });
    await admin.pauseLane({ lane: 'paused' });
    await expect(refusal(hand.claimNamed(id))).resolves.toMatchObject({ reason: 'LANE_PAUSED' });
    await admin.resumeLane({ lane: 'paused' });
    await hand.complete(await hand.claimNamed(id));
  });

  it('capabilities that the worker lacks, by name', async () => {
    const id = await hand.createOne({ requiredCapabilities: ['gpu', 'eu', 'ssd'] });
    const { reason, metadata } = await refusal(hand.claimNamed(id, { capabilities: ['eu', 'arm'] }));
    expect([reason, metadata['missing']?.split(',').sort()]).toEqual(['CAPABILITY_MISSING', ['gpu', 'ssd']]);
    await hand.complete(await hand.claimNamed(id, { capabilities: ['arm', 'eu', 'gpu', 'ssd'] }));
  });

  it('a time to start that has passed, also before anybody has noticed', async () => {
    const id = await hand.createOne({ lane: 'stale', ttl: seconds(4) });
    await unnoticed(id, async () => {
      await expect(refusal(hand.claimNamed(id))).resolves.toMatchObject({ reason: 'WRONG_STATE' });
      expect(await hand.claim({ lanes: [{ lane: 'stale' }], wait: seconds(0) })).toEqual([]);
    });
    expect((await hand.end(id)).state).toBe(ExecutionState.EXPIRED);
  });
});

/** Waits for the execution's timer to be due, while no sweeper can take it, and acts then. */
async function unnoticed(execution: string, act: () => Promise<void>): Promise<void> {
  const holder = new pg.Client({ connectionString: recorded.tailrace.database.url });
  await holder.connect();
  try {
    await holder.query('begin');
    const { rows } = await holder.query<{ ms: number }>(
      `select extract(epoch from due_at - clock_timestamp())::float8 * 1000 as ms from tailrace.timer
       where execution = $1 for update`,
      [execution],
    );
    await holder.query('select pg_sleep($1)', [Math.max(0, rows[0]?.ms ?? 0) / 1_000]);
    await act();
  } finally {
    await holder.end();
  }
}

describe('E4: start_within', () => {
  const within = { startWithin: seconds(4), leaseDuration: seconds(60) };

  async function wentBack({ executionId }: Claim): Promise<void> {
    const ended = await recorded.log.entry(
      (entry) => entry.executionId === executionId && entry.kind === LogEntryKind.ATTEMPT_ENDED,
    );
    expect(ended).toMatchObject({
      fromState: RUNNING,
      toState: QUEUED,
      body: { value: { outcome: AttemptOutcome.NOT_STARTED } },
    });
  }

  it('gives back what is not begun, and counts nothing', async () => {
    const lane = 'not begun';
    const id = await hand.createOne({ lane, retryPolicy: { maxAttempts: 1, maxReclaims: 1 } });
    for (let attempt = 1; attempt <= 3; attempt++) {
      const ask = { lanes: [{ lane }], ...within, startWithin: seconds(0.1), wait: seconds(10) };
      expect(await hand.claimOne(ask)).toMatchObject({
        executionId: id,
        attemptNumber: attempt,
        attemptKind: attempt === 1 ? AttemptKind.INITIAL : AttemptKind.CONTINUATION,
        failureCount: 0,
      });
    }
    const last = await hand.claimOne({ lanes: [{ lane }], wait: seconds(10) });
    expect(last).toMatchObject({ attemptNumber: 4, failureCount: 0 });
    await hand.complete(last);
  });

  it('gives back a named claim too; its holder has lost it', async () => {
    const id = await hand.createOne({ lane: 'named, not begun' });
    const claim = await hand.claimNamed(id, { ...within, startWithin: seconds(0.3) });
    await wentBack(claim);
    await expect(refusal(hand.complete(claim))).resolves.toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'expired' },
    });
  });

  it.concurrent.each([
    ['a renewal', (claim: Claim) => hand.renew(claim)],
    ['a report', (claim: Claim) => hand.progress(claim, 1)],
  ])('is met by %s', async (_, begin) => {
    const lane = 'begun';
    const watched = await hand.claimNamed(await hand.createOne({ lane }), within);
    await begin(watched);
    // Granted after it with the same bound: when this one has gone back, the other would have too.
    await wentBack(await hand.claimNamed(await hand.createOne({ lane }), within));
    expect(await hand.state(watched.executionId)).toBe(RUNNING);
    await hand.complete(watched);
  });

  it('is met by an end', async () => {
    const claim = await hand.claimNamed(await hand.createOne({ lane: 'ended' }), within);
    await hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(60) });
    expect(await hand.state(claim.executionId)).toBe(ExecutionState.SCHEDULED);
  });

  it('cannot be longer than the lease', async () => {
    const id = await hand.createOne();
    const asked = hand.claimNamed(id, { startWithin: seconds(2), leaseDuration: seconds(1) });
    await expect(refusal(asked)).resolves.toMatchObject({
      reason: 'INVALID_FIELD',
      fieldViolations: [{ field: 'start_within' }],
    });
  });
});
