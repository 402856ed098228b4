/** Lanes, workers and single executions under an operator's hand, and why an execution is where it is. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome, FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { HoldKind, TimerKind } from '../../../gen/tailrace/v1/explain_pb.js';
import { LaneState } from '../../../gen/tailrace/v1/lane_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { WorkerState } from '../../../gen/tailrace/v1/worker_pb.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterEach(async () => {
  expect(await desk.broken()).toEqual([]);
});
afterAll(async () => {
  await desk.stop();
});

describe('lanes', () => {
  it('are paused and resumed, once each, and say so', async () => {
    const lane = 'paused';
    const paused = await desk.admin.pauseLane({ lane, reason: 'maintenance' });
    expect(paused.lane).toMatchObject({ lane, state: LaneState.PAUSED, stateReason: 'maintenance', version: 2n });
    const again = await desk.admin.pauseLane({ lane, reason: 'maintenance' });
    expect(again.lane?.version).toBe(2n);
    expect(await refusal(desk.admin.resumeLane({ lane, expectedVersion: 1n }))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { lane, current_version: '2' },
    });

    const id = await desk.hand.createOne({ lane });
    expect(await desk.hand.claim({ lanes: [{ lane }], wait: seconds(0) })).toEqual([]);
    const waiting = desk.hand.claimOne({ lanes: [{ lane }], wait: seconds(20) });
    const resumed = await desk.admin.resumeLane({ lane, expectedVersion: 2n });
    expect(resumed.lane).toMatchObject({ state: LaneState.OPEN, stateReason: '', version: 3n });
    expect((await waiting).executionId).toBe(id);
    await desk.hand.complete(await waiting);

    await desk.caughtUp();
    const { entries } = await desk.admin.listLogEntries({
      filter: { kinds: [LogEntryKind.LANE_PAUSED, LogEntryKind.LANE_RESUMED] },
      oldestFirst: true,
    });
    expect(entries.map(({ kind, reason, body }) => [kind, reason, body.case])).toEqual([
      [LogEntryKind.LANE_PAUSED, 'maintenance', 'details'],
      [LogEntryKind.LANE_RESUMED, '', 'details'],
    ]);
  });

  it('that were never used can be paused ahead, but not resumed or shown', async () => {
    const unknown = { lane: 'never used' };
    expect(await refusal(desk.admin.getLane(unknown))).toMatchObject({ reason: 'LANE_NOT_FOUND' });
    expect(await refusal(desk.admin.resumeLane(unknown))).toMatchObject({ reason: 'LANE_NOT_FOUND' });
    const ahead = { lane: 'unmade', expectedVersion: 4n };
    expect(await refusal(desk.admin.pauseLane(ahead))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { current_version: '0' },
    });
    expect(await refusal(desk.admin.getLane({ lane: 'unmade' }))).toMatchObject({ reason: 'LANE_NOT_FOUND' });
  });

  it('take settings whole or by mask, for executions created from then on', async () => {
    const lane = 'settings';
    const settings = {
      agingInterval: seconds(10),
      retryPolicy: { maxAttempts: 3, maxBackoff: seconds(60) },
      attemptTimeout: seconds(5),
      ttl: seconds(100),
    };
    const set = await desk.admin.updateLane({ lane, settings });
    expect(set.lane?.settings).toMatchObject({
      agingInterval: { seconds: 10n },
      retryPolicy: { maxAttempts: 3, backoffFactor: 0 },
      attemptTimeout: { seconds: 5n },
      ttl: { seconds: 100n },
    });
    const masked = await desk.admin.updateLane({
      lane,
      settings: { retryPolicy: { maxAttempts: 8 } },
      updateMask: { paths: ['retry_policy.max_attempts', 'ttl'] },
    });
    expect(masked.lane).toMatchObject({
      version: 3n,
      settings: { retryPolicy: { maxAttempts: 8, maxBackoff: { seconds: 60n } }, attemptTimeout: { seconds: 5n } },
    });
    expect(masked.lane?.settings).not.toHaveProperty('ttl');
    const id = await desk.hand.createOne({ lane });
    expect((await desk.admin.getExecution({ executionId: id })).execution).toMatchObject({
      retryPolicy: { maxAttempts: 8, maxBackoff: { seconds: 60n }, initialBackoff: { seconds: 1n } },
      attemptTimeout: { seconds: 5n },
    });
    expect((await desk.admin.updateLane({ lane })).lane?.version).toBe(3n);
    const cleared = await desk.admin.updateLane({ lane, settings: {} });
    expect(cleared.lane?.settings).not.toHaveProperty('retryPolicy');
    await desk.hand.cancel(id);
  });

  it('refuse what is not known or not for this call', async () => {
    const lane = 'refusing';
    const wrong = {
      lane,
      state: LaneState.PAUSED,
      updateMask: { paths: ['nonsense'] },
      settings: { agingInterval: seconds(0.1) },
    };
    expect((await refusal(desk.admin.updateLane(wrong))).fieldViolations.map(({ field }) => field)).toEqual([
      'settings.aging_interval',
      'update_mask.paths[0]',
      'state',
    ]);
    expect(await refusal(desk.admin.getLane({ lane }))).toMatchObject({ reason: 'LANE_NOT_FOUND' });
  });

  it('drain: refuse new work and hand out the rest', async () => {
    const lane = 'draining';
    const id = await desk.hand.createOne({ lane });
    await desk.admin.updateLane({ lane, state: LaneState.DRAINING, reason: 'moving' });
    expect(await refusal(desk.hand.createOne({ lane }))).toMatchObject({ reason: 'LANE_CLOSED' });
    const claim = await desk.hand.claimOne({ lanes: [{ lane }] });
    expect(claim.executionId).toBe(id);
    await desk.hand.complete(claim);
    await desk.admin.updateLane({ lane, state: LaneState.OPEN });
    await desk.hand.cancel(await desk.hand.createOne({ lane }));
  });

  it('are listed by name with what they hold', async () => {
    const elsewhere = desk.handIn('counting');
    const ids = await elsewhere.create(
      { lane: 'b' },
      { lane: 'b' },
      { lane: 'b', delay: seconds(60) },
      { lane: 'a' },
      { lane: 'c', retryPolicy: { maxAttempts: 1 } },
    );
    await elsewhere.fail(await elsewhere.claimOne({ lanes: [{ lane: 'c' }] }), FailureClass.PERMANENT);
    await elsewhere.claimOne({ lanes: [{ lane: 'a' }], leaseDuration: seconds(60) });
    await desk.caughtUp();
    const first = await desk.admin.listLanes({ namespace: 'counting', pageSize: 2 });
    expect(first.lanes.map(({ lane }) => lane)).toEqual(['a', 'b']);
    expect(first.lanes[0]?.counts).toMatchObject({ queued: 0n, running: 1n });
    expect(first.lanes[1]).toMatchObject({ counts: { queued: 2n, scheduled: 1n }, oldestQueuedAge: expect.anything() });
    const { nextPageToken: pageToken } = first;
    const rest = await desk.admin.listLanes({ namespace: 'counting', pageSize: 2, pageToken });
    expect(rest).toMatchObject({ lanes: [{ lane: 'c', counts: { openDeadLetters: 1n } }], nextPageToken: '' });
    const stats = await desk.admin.getStats({ namespace: 'counting', includeLanes: true });
    expect(stats).toMatchObject({
      createdCount: 5n,
      executions: [
        { state: ExecutionState.SCHEDULED, count: 1n },
        { state: ExecutionState.QUEUED, count: 2n },
        { state: ExecutionState.RUNNING, count: 1n },
        { state: ExecutionState.FAILED, count: 1n },
      ],
      deadLetters: { open: 1n, redriving: 0n, closed: 0n },
    });
    expect(stats.lanes.map(({ lane, openDeadLetters }) => [lane, openDeadLetters])).toEqual([
      ['a', 0n],
      ['b', 0n],
      ['c', 1n],
    ]);
    expect(stats.cursor).toBe(rest.lanes[0]?.countsCursor);
    for (const id of ids) await elsewhere.cancel(id);
  });
});

describe('workers', () => {
  const worker = { name: 'mailer', instanceId: 'mailer-1' };

  it('are listed, drained and undrained', async () => {
    await desk.engine.heartbeatWorker({ worker, lanes: ['mail'], types: ['send'], labels: { version: '7' } });
    await desk.engine.heartbeatWorker({ worker: { ...worker, instanceId: 'mailer-2' }, lanes: ['mail', 'post'] });
    const { workers } = await desk.admin.listWorkers({ workerName: 'mailer' });
    expect(workers).toMatchObject([
      { identity: worker, state: WorkerState.ACTIVE, types: ['send'], labels: { version: '7' }, leaseCount: 0 },
      { identity: { instanceId: 'mailer-2' }, types: [], lanes: ['mail', 'post'] },
    ]);
    const post = await desk.admin.listWorkers({ lane: 'post' });
    expect(post.workers.map(({ identity }) => identity?.instanceId)).toEqual(['mailer-2']);
    const page = await desk.admin.listWorkers({ workerName: 'mailer', pageSize: 1 });
    const next = await desk.admin.listWorkers({ workerName: 'mailer', pageSize: 1, pageToken: page.nextPageToken });
    expect(next).toMatchObject({ workers: [{ identity: { instanceId: 'mailer-2' } }], nextPageToken: '' });

    const drained = await desk.admin.drainWorker({ worker: { name: 'mailer' }, reason: 'upgrade' });
    expect(drained.workers).toMatchObject([
      { state: WorkerState.DRAINING, drainReason: 'upgrade' },
      { state: WorkerState.DRAINING, drainReason: 'upgrade' },
    ]);
    expect(await desk.engine.heartbeatWorker({ worker, lanes: ['mail'] })).toMatchObject({
      drain: true,
      drainReason: 'upgrade',
    });
    await desk.admin.drainWorker({ worker, undo: true });
    expect(await desk.engine.heartbeatWorker({ worker, lanes: ['mail'] })).toMatchObject({ drain: false });
    const states = [WorkerState.DRAINING];
    const left = await desk.admin.listWorkers({ workerName: 'mailer', states });
    expect(left.workers.map(({ identity }) => identity?.instanceId)).toEqual(['mailer-2']);
  });

  it('that are not registered, or of another namespace, are not found', async () => {
    for (const request of [{ worker: { name: 'nobody' } }, { namespace: 'elsewhere', worker }]) {
      expect(await refusal(desk.admin.drainWorker(request))).toMatchObject({ reason: 'WORKER_NOT_FOUND' });
    }
    expect(await refusal(desk.admin.drainWorker({}))).toMatchObject({ reason: 'INVALID_FIELD' });
    expect((await desk.admin.listWorkers({ namespace: 'elsewhere' })).workers).toEqual([]);
  });
});

describe('RevokeLease', () => {
  it('gives the work back without counting, and refuses the holder', async () => {
    const lane = 'revoked';
    const id = await desk.hand.createOne({ lane });
    const claim = await desk.hand.claimOne({ lanes: [{ lane }] });
    const fencingToken = claim.lease?.fencingToken ?? 0n;
    const stale = { executionId: id, fencingToken: fencingToken + 1n };
    expect(await refusal(desk.admin.revokeLease(stale))).toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { state: 'RUNNING' },
    });
    expect(await desk.admin.revokeLease({ executionId: id, fencingToken, reason: 'stuck' })).toMatchObject({
      state: ExecutionState.QUEUED,
      revokedLease: { fencingToken, worker: { name: 'hand' } },
    });
    expect(await refusal(desk.hand.complete(claim))).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'revoked' },
    });
    const again = { executionId: id, fencingToken };
    expect(await refusal(desk.admin.revokeLease(again))).toMatchObject({ metadata: { state: 'QUEUED' } });
    const { attempts } = await desk.admin.listAttempts({ executionId: id });
    expect(attempts).toMatchObject([{ outcome: AttemptOutcome.REVOKED, failure: { message: 'stuck' } }]);
    await desk.hand.complete(await desk.hand.claimOne({ lanes: [{ lane }] }));
    expect(await refusal(desk.admin.revokeLease({ executionId: id }))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    const other = { namespace: 'elsewhere', executionId: id };
    expect(await refusal(desk.admin.revokeLease(other))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
  });
});

describe('ChangeExecution', () => {
  it('moves waiting work in its line and in time', async () => {
    const lane = 'changed';
    const [first, second] = await desk.hand.create({ lane }, { lane });
    const moved = await desk.admin.changeExecution({ executionId: second ?? '', priority: 5 });
    expect(moved.execution).toMatchObject({ priority: 5, state: ExecutionState.QUEUED });
    const later = { seconds: BigInt(Math.floor(wallMs() / 1000) + 600), nanos: 0 };
    const put = await desk.admin.changeExecution({ executionId: first ?? '', runTime: later });
    expect(put.execution).toMatchObject({ state: ExecutionState.SCHEDULED, runTime: later });
    const claim = await desk.hand.claimOne({ lanes: [{ lane }] });
    expect(claim).toMatchObject({ executionId: second, priority: 5 });
    const running = { executionId: second ?? '', priority: 1 };
    expect(await refusal(desk.admin.changeExecution(running))).toMatchObject({ reason: 'WRONG_STATE' });
    await desk.hand.complete(claim);
    expect(await refusal(desk.admin.changeExecution(running))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    const nothing = await refusal(desk.admin.changeExecution({ executionId: first ?? '' }));
    expect(nothing.fieldViolations).toMatchObject([{ field: 'priority' }]);
    await desk.hand.cancel(first ?? '');
  });
});

describe('ExplainExecution', () => {
  const explain = (executionId: string) => desk.admin.explainExecution({ executionId });

  it('names who is missing, who is ahead, and what holds it', async () => {
    const lane = 'explained';
    const lanes = [lane];
    const type = 'render';
    const [ahead, id] = await desk.hand.create(
      { lane, type, priority: 3 },
      { lane, type, requiredCapabilities: ['gpu'], ttl: seconds(600) },
    );
    const kinds = async () => (await explain(id ?? '')).holds.map(({ kind, subject }) => [kind, subject]);
    expect(await kinds()).toEqual([[HoldKind.NO_WORKER, lane]]);
    const worker = { name: 'renderer', instanceId: 'renderer-1' };
    await desk.engine.heartbeatWorker({ worker, lanes, types: ['other'] });
    expect(await kinds()).toEqual([[HoldKind.NO_HANDLER, type]]);
    await desk.engine.heartbeatWorker({ worker, lanes, types: [type] });
    expect(await kinds()).toEqual([[HoldKind.CAPABILITY, 'gpu']]);
    await desk.engine.heartbeatWorker({ worker, lanes, types: [type], capabilities: ['gpu'] });
    expect(await explain(id ?? '')).toMatchObject({
      state: ExecutionState.QUEUED,
      holds: [{ kind: HoldKind.IN_LINE }],
      summary: expect.stringContaining('1 ahead'),
      aheadInLane: 1n,
      aheadInLaneCapped: false,
      eligibleWorkerCount: 1,
      nextTimer: { kind: TimerKind.TTL },
    });
    await desk.admin.pauseLane({ lane, reason: 'stop' });
    expect(await kinds()).toEqual([[HoldKind.LANE_PAUSED, lane]]);
    await desk.admin.resumeLane({ lane });
    await desk.admin.drainWorker({ worker });
    expect(await kinds()).toEqual([[HoldKind.NO_WORKER, lane]]);
    for (const each of [ahead, id]) await desk.hand.cancel(each ?? '');
  });

  it('tells of backoff, lease, cancellation and end', async () => {
    const lane = 'told';
    const lanes = [{ lane }];
    await desk.engine.heartbeatWorker({ worker: desk.hand.worker, lanes: [lane] });
    const id = await desk.hand.createOne({ lane, attemptTimeout: seconds(1000) });
    await desk.hand.fail(await desk.hand.claimOne({ lanes }), FailureClass.TRANSIENT, { retryDelay: seconds(60) });
    expect(await explain(id)).toMatchObject({
      state: ExecutionState.SCHEDULED,
      holds: [{ kind: HoldKind.RUN_TIME, message: expect.stringContaining('backs off after attempt 1') }],
      nextTimer: { kind: TimerKind.RUN_TIME },
    });
    await desk.admin.changeExecution({ executionId: id, runTime: seconds(1) });
    const claim = await desk.hand.claimOne({ lanes, leaseDuration: seconds(60) });
    expect(await explain(id)).toMatchObject({
      holds: [{ kind: HoldKind.LEASE, subject: 'hand', untilTime: claim.lease?.expireTime }],
      nextTimer: { kind: TimerKind.LEASE, fireTime: claim.lease?.expireTime },
    });
    await desk.hand.cancel(id);
    expect(await explain(id)).toMatchObject({
      summary: expect.stringContaining('asked to stop'),
      nextTimer: { kind: TimerKind.CANCEL_GRACE },
    });
    await desk.hand.fail(claim, FailureClass.CANCELED);
    const ended = await explain(id);
    expect(ended).toMatchObject({ state: ExecutionState.CANCELED, holds: [{ kind: HoldKind.TERMINAL }] });
    expect(ended).not.toHaveProperty('nextTimer');
  });
});

describe('GetServerInfo', () => {
  it('says who answers', async () => {
    await desk.caughtUp();
    expect(await desk.admin.getServerInfo({})).toMatchObject({
      version: '0.0.0-test',
      instanceId: 'desk',
      databaseVersion: expect.stringMatching(/^\d+/),
      schemaVersion: expect.any(Number),
      sequencerLag: { seconds: 0n },
      warnings: ['the clock is a test'],
      limits: { maxPageSize: 1_000, maxPayloadBytes: 4_096n },
    });
  });
});
