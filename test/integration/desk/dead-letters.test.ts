/** Dead letters: found, counted, redriven once, resolved once; their history holds every run. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { type DeadLetter, DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { ExecutionSpec } from '../../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { type Init, ok, only, refusal, seconds, text } from '../../support/by-hand.js';
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

async function letterOf(executionId: string): Promise<DeadLetter> {
  return only((await desk.deadLetters.listDeadLetters({ filter: { executionId } })).deadLetters);
}

async function get(deadLetterId: string) {
  const { deadLetter, attempts } = await desk.deadLetters.getDeadLetter({ deadLetterId });
  if (!deadLetter) throw new Error('an answer without a letter');
  return { letter: deadLetter, attempts };
}

/** An execution that failed for good, and its letter. */
async function givenUp(spec: Init<ExecutionSpec> = {}): Promise<{ id: string; letter: DeadLetter }> {
  const id = await desk.hand.createOne({ lane: 'dead', input: text('original'), ...spec });
  const capabilities = spec.requiredCapabilities ?? [];
  await desk.hand.fail(await desk.hand.claimNamed(id, { capabilities }), FailureClass.PERMANENT);
  return { id, letter: await letterOf(id) };
}

describe('GetDeadLetter', () => {
  it('shows what gave up and why, with its attempts', async () => {
    const id = await desk.hand.createOne({
      lane: 'dead',
      type: 'charge',
      tags: { order: '12' },
      input: text('original'),
      retryPolicy: { maxAttempts: 2 },
    });
    await desk.hand.fail(await desk.hand.claimNamed(id), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    await desk.hand.fail(await desk.hand.claimNamed(id), FailureClass.TRANSIENT, {
      failure: { message: 'card 4711 refused', code: 'Refused', details: text('stack') },
    });
    const { letter, attempts } = await get((await letterOf(id)).deadLetterId);
    expect(letter).toMatchObject({
      namespace: 'default',
      subject: { subject: { case: 'executionId', value: id } },
      reason: DeadLetterReason.RETRIES_EXHAUSTED,
      state: DeadLetterState.OPEN,
      resolution: DeadLetterResolution.UNSPECIFIED,
      version: 1n,
      lane: 'dead',
      type: 'charge',
      tags: { order: '12' },
      input: { body: { value: 'original' } },
      failure: { message: 'card 4711 refused', code: 'Refused', details: { body: { value: 'stack' } } },
      attemptCount: 2,
      redriveCount: 0,
      redriveExecutionId: '',
    });
    expect(letter).not.toHaveProperty('closeTime');
    expect(attempts.map(({ attemptNumber, executionId }) => [attemptNumber, executionId])).toEqual([
      [1, id],
      [2, id],
    ]);
  });

  it('shows one that never ran, and nothing to strangers', async () => {
    const id = await desk.hand.createOne({ lane: 'dead', ttl: seconds(0.1), type: 'unheard of' });
    await desk.hand.end(id);
    const letter = await letterOf(id);
    const { attempts, letter: shown } = await get(letter.deadLetterId);
    expect(attempts).toEqual([]);
    expect(shown).toMatchObject({ reason: DeadLetterReason.NO_HANDLER, attemptCount: 0 });
    expect(shown).not.toHaveProperty('input');
    const { deadLetterId } = letter;
    const stranger = { namespace: 'elsewhere', deadLetterId };
    expect(await refusal(desk.deadLetters.getDeadLetter(stranger))).toMatchObject({ reason: 'DEAD_LETTER_NOT_FOUND' });
    expect(await refusal(desk.deadLetters.redriveDeadLetter(stranger))).toMatchObject({
      reason: 'DEAD_LETTER_NOT_FOUND',
    });
    const resolve = {
      namespace: 'elsewhere',
      deadLetters: [{ deadLetterId }],
      resolution: DeadLetterResolution.IGNORED,
    };
    const { results } = await desk.deadLetters.resolveDeadLetters(resolve);
    expect(() => ok(only(results))).toThrow('DEAD_LETTER_NOT_FOUND');
  });
});

describe('ListDeadLetters and CountDeadLetters', () => {
  it('select and page', async () => {
    const lane = 'selected';
    const made: string[] = [];
    for (const type of ['a', 'b', 'a', 'c'])
      made.push((await givenUp({ lane, type, tags: { type } })).letter.deadLetterId);
    const select = async (filter: object, pageSize = 2) => {
      const found: string[] = [];
      let pageToken = '';
      do {
        const page = await desk.deadLetters.listDeadLetters({ filter, pageSize, pageToken });
        found.push(...page.deadLetters.map(({ deadLetterId }) => deadLetterId));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      return found;
    };
    const [a1 = '', b = '', a2 = '', c = ''] = made;
    expect(await select({ lanes: [lane] }, 1)).toEqual([...made].sort().reverse());
    expect(await select({ lanes: [lane], types: ['a'] })).toEqual([a1, a2].sort().reverse());
    expect(await select({ tags: { type: 'a' } })).toEqual([a1, a2].sort().reverse());
    expect(await select({ lanes: [lane], reasons: [DeadLetterReason.PERMANENT] })).toHaveLength(4);
    expect(await select({ lanes: [lane], reasons: [DeadLetterReason.TTL] })).toEqual([]);
    const { letter } = await get(b);
    expect(await select({ fingerprints: [letter.fingerprint], lanes: [lane] })).toEqual([b]);
    expect(await select({ lanes: [lane], minCreateTime: letter.createTime })).toHaveLength(3);
    await desk.deadLetters.resolveDeadLetters({
      deadLetters: [{ deadLetterId: c }],
      resolution: DeadLetterResolution.HANDLED_BY_SCRIPT,
      actor: 'ann',
    });
    expect(await select({ lanes: [lane], states: [DeadLetterState.OPEN] })).toHaveLength(3);
    expect(await select({ resolutions: [DeadLetterResolution.HANDLED_BY_SCRIPT], actor: 'ann' })).toEqual([c]);
    const count = (filter: object, maxCount = 0) => desk.deadLetters.countDeadLetters({ filter, maxCount });
    expect(await count({ lanes: [lane] })).toMatchObject({ count: 4n, capped: false });
    expect(await count({ lanes: [lane] }, 3)).toMatchObject({ count: 3n, capped: true });
    expect(await count({ lanes: [lane], states: [DeadLetterState.CLOSED] })).toMatchObject({ count: 1n });
    const bare = only(
      (await desk.deadLetters.listDeadLetters({ filter: { lanes: [lane], types: ['b'] } })).deadLetters,
    );
    expect(bare).toMatchObject({ inputOmitted: true });
    expect(bare).not.toHaveProperty('input');
    const withInput = { filter: { lanes: [lane], types: ['b'] }, includePayloads: true };
    expect(only((await desk.deadLetters.listDeadLetters(withInput)).deadLetters).input?.body.value).toBe('original');
  });

  it('refuse foreign tokens', async () => {
    await givenUp();
    await givenUp();
    const { nextPageToken: pageToken } = await desk.deadLetters.listDeadLetters({ pageSize: 1 });
    const other = { pageToken, filter: { lanes: ['other'] } };
    expect(await refusal(desk.deadLetters.listDeadLetters(other))).toMatchObject({ reason: 'BAD_CURSOR' });
  });
});

describe('RedriveDeadLetter', () => {
  it('runs it again with fresh attempts, and success closes the letter', async () => {
    const { id, letter } = await givenUp({
      type: 'again',
      priority: 4,
      tags: { order: '1' },
      requiredCapabilities: ['gpu'],
      retryPolicy: { maxAttempts: 3 },
      attemptTimeout: seconds(77),
    });
    const { deadLetterId } = letter;
    const done = await desk.deadLetters.redriveDeadLetter({
      deadLetterId,
      expectedVersion: 1n,
      input: text('edited'),
      actor: 'ann',
      note: 'fixed the input',
    });
    expect(done).toMatchObject({
      duplicate: false,
      deadLetter: {
        state: DeadLetterState.REDRIVING,
        version: 2n,
        redriveCount: 1,
        redriveExecutionId: done.executionId,
        actor: 'ann',
        note: 'fixed the input',
        input: { body: { value: 'original' } },
        editedInput: { body: { value: 'edited' } },
      },
    });
    const claim = await desk.hand.claimNamed(done.executionId, { capabilities: ['gpu'] });
    expect(claim).toMatchObject({
      attemptNumber: 1,
      attemptKind: AttemptKind.REDRIVE,
      idempotencyKey: id,
      redriveOfExecutionId: id,
      priority: 4,
      maxAttempts: 3,
      tags: { order: '1' },
      input: { body: { value: 'edited' } },
      attemptTimeoutTime: expect.anything(),
    });
    expect((await desk.admin.getExecution({ executionId: id })).execution).toMatchObject({
      redrivenAsExecutionId: done.executionId,
      outcome: { deadLetterId },
    });
    expect((await get(deadLetterId)).attempts).toMatchObject([
      { executionId: id },
      { executionId: done.executionId, outcome: 0 },
    ]);
    await desk.hand.complete(claim);
    expect((await get(deadLetterId)).letter).toMatchObject({
      state: DeadLetterState.CLOSED,
      resolution: DeadLetterResolution.REDRIVEN,
      version: 3n,
      closeTime: expect.anything(),
    });
    expect(await refusal(desk.deadLetters.redriveDeadLetter({ deadLetterId }))).toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { state: 'CLOSED' },
    });
    await desk.caughtUp();
    const { entries } = await desk.admin.listLogEntries({ filter: { executionId: id }, oldestFirst: true });
    expect(entries.map(({ kind }) => kind)).toEqual([
      LogEntryKind.EXECUTION_CREATED,
      LogEntryKind.ATTEMPT_STARTED,
      LogEntryKind.ATTEMPT_ENDED,
      LogEntryKind.EXECUTION_FAILED,
      LogEntryKind.DEAD_LETTER_OPENED,
      LogEntryKind.DEAD_LETTER_REDRIVING,
    ]);
    expect(entries.at(-1)).toMatchObject({
      subject: deadLetterId,
      actor: 'ann',
      reason: 'fixed the input',
      type: 'again',
    });
  });

  it('that fails again opens the letter again, with the history of both runs', async () => {
    const { id, letter } = await givenUp({ type: 'stubborn' });
    const { deadLetterId } = letter;
    const first = await desk.deadLetters.redriveDeadLetter({ deadLetterId });
    const failure = { failureClass: FailureClass.PERMANENT, message: 'still broken' };
    await desk.hand.fail(await desk.hand.claimNamed(first.executionId), FailureClass.PERMANENT, { failure });
    const open = await get(deadLetterId);
    expect(open.letter).toMatchObject({
      state: DeadLetterState.OPEN,
      version: 3n,
      attemptCount: 2,
      failure: { message: 'still broken' },
    });
    expect(open.attempts.map(({ executionId }) => executionId)).toEqual([id, first.executionId]);
    expect((await desk.admin.getExecution({ executionId: first.executionId })).execution).toMatchObject({
      redriveOfExecutionId: id,
      outcome: { deadLetterId },
    });
    const second = await desk.deadLetters.redriveDeadLetter({ deadLetterId });
    const claim = await desk.hand.claimNamed(second.executionId);
    expect(claim).toMatchObject({ redriveOfExecutionId: first.executionId, idempotencyKey: id });
    await desk.hand.cancel(second.executionId, { lease: undefined, policy: { mode: 2 } });
    expect((await get(deadLetterId)).letter).toMatchObject({
      state: DeadLetterState.OPEN,
      redriveCount: 2,
      attemptCount: 3,
      failure: { message: 'still broken' },
    });
    expect((await letterOf(id)).deadLetterId).toBe(deadLetterId);
  });

  it('is safe to repeat under its request id, and refuses it for anything else', async () => {
    const { letter } = await givenUp();
    const { letter: other } = await givenUp();
    const request = { requestId: 'redrive-1', deadLetterId: letter.deadLetterId };
    const first = await desk.deadLetters.redriveDeadLetter(request);
    const repeated = await desk.deadLetters.redriveDeadLetter(request);
    expect(repeated).toMatchObject({ duplicate: true, executionId: first.executionId });
    await desk.hand.complete(await desk.hand.claimNamed(first.executionId));
    expect(await desk.deadLetters.redriveDeadLetter(request)).toMatchObject({ duplicate: true });
    for (const changed of [{ input: text('other') }, { deadLetterId: other.deadLetterId }]) {
      expect(await refusal(desk.deadLetters.redriveDeadLetter({ ...request, ...changed }))).toMatchObject({
        reason: 'REQUEST_ID_REUSED',
        metadata: { execution_id: first.executionId },
      });
    }
    expect((await get(other.deadLetterId)).letter).toMatchObject({ state: DeadLetterState.OPEN, version: 1n });
  });

  it.each([
    ['under one request id', (i: number) => ({ requestId: 'same', n: i })],
    ['of two people', (i: number) => ({ requestId: `own-${i}`, n: i })],
    ['that saw the same version', (i: number) => ({ expectedVersion: 1n, n: i })],
  ])('of which many come at once, %s, makes one execution', async (name, more) => {
    const { letter } = await givenUp({ type: name });
    const { deadLetterId } = letter;
    const calls = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => {
        const { n: _n, ...rest } = more(i);
        return desk.deadLetters.redriveDeadLetter({ deadLetterId, ...rest });
      }),
    );
    const made = calls.flatMap((call) => (call.status === 'fulfilled' ? [call.value.executionId] : []));
    expect(new Set(made).size).toBe(1);
    expect((await get(deadLetterId)).letter).toMatchObject({ redriveCount: 1, version: 2n });
    for (const call of calls) {
      if (call.status === 'rejected') {
        const { reason } = await refusal(Promise.reject(call.reason));
        expect(['WRONG_STATE', 'VERSION_CONFLICT']).toContain(reason);
      }
    }
    await desk.hand.complete(await desk.hand.claimNamed(made[0] ?? ''));
    expect((await get(deadLetterId)).letter.state).toBe(DeadLetterState.CLOSED);
  });

  it('leaves out a time to live and a deadline that have passed', async () => {
    const id = await desk.hand.createOne({ lane: 'dead', ttl: seconds(0.1) });
    await desk.hand.end(id);
    const { deadLetterId } = await letterOf(id);
    const { executionId } = await desk.deadLetters.redriveDeadLetter({ deadLetterId });
    const { execution } = await desk.admin.getExecution({ executionId });
    expect(execution).not.toHaveProperty('ttl');
    await desk.hand.complete(await desk.hand.claimNamed(executionId));
  });

  it('goes to another lane or a later time when asked, and not into a draining one', async () => {
    const { letter } = await givenUp({ lane: 'first', requiredCapabilities: ['eu'] });
    const { deadLetterId } = letter;
    await desk.admin.updateLane({ lane: 'first', state: 3 });
    expect(await refusal(desk.deadLetters.redriveDeadLetter({ deadLetterId }))).toMatchObject({
      reason: 'LANE_CLOSED',
    });
    expect((await get(deadLetterId)).letter).toMatchObject({ state: DeadLetterState.OPEN, version: 1n });
    const runTime = { seconds: BigInt(Math.floor(wallMs() / 1000) + 600), nanos: 0 };
    const { executionId } = await desk.deadLetters.redriveDeadLetter({ deadLetterId, lane: 'second', runTime });
    expect((await desk.admin.getExecution({ executionId })).execution).toMatchObject({
      lane: 'second',
      state: ExecutionState.SCHEDULED,
      runTime,
      requiredCapabilities: ['eu'],
    });
    await desk.hand.cancel(executionId);
    expect((await get(deadLetterId)).letter.state).toBe(DeadLetterState.OPEN);
  });

  it('refuses an input that is too large, and a stale version', async () => {
    const { letter } = await givenUp();
    const { deadLetterId } = letter;
    const large = { deadLetterId, input: text('x'.repeat(5_000)) };
    expect(await refusal(desk.deadLetters.redriveDeadLetter(large))).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE' });
    const stale = { deadLetterId, expectedVersion: 7n };
    expect(await refusal(desk.deadLetters.redriveDeadLetter(stale))).toMatchObject({
      reason: 'VERSION_CONFLICT',
      metadata: { current_version: '1' },
    });
  });
});

describe('ResolveDeadLetters', () => {
  it('decides each for itself, and a repeat answers as the first time', async () => {
    const [a, b, c] = [(await givenUp()).letter, (await givenUp()).letter, (await givenUp()).letter];
    const redriving = await desk.deadLetters.redriveDeadLetter({ deadLetterId: b.deadLetterId });
    const nobody = '0198a0a0-0000-7000-8000-000000000000';
    const request = {
      deadLetters: [
        { deadLetterId: a.deadLetterId, expectedVersion: 1n },
        { deadLetterId: b.deadLetterId },
        { deadLetterId: c.deadLetterId, expectedVersion: 9n },
        { deadLetterId: nobody },
      ],
      resolution: DeadLetterResolution.IGNORED,
      actor: 'ann',
      note: 'known',
    };
    for (let round = 0; round < 2; round++) {
      const { results } = await desk.deadLetters.resolveDeadLetters(request);
      expect(
        results.map(({ result }) => (result.case === 'ok' ? result.value.state : result.value?.detail?.reason)),
      ).toEqual([DeadLetterState.CLOSED, 'WRONG_STATE', 'VERSION_CONFLICT', 'DEAD_LETTER_NOT_FOUND']);
    }
    expect((await get(a.deadLetterId)).letter).toMatchObject({
      version: 2n,
      resolution: DeadLetterResolution.IGNORED,
      actor: 'ann',
      note: 'known',
    });
    const other = { ...request, resolution: DeadLetterResolution.HANDLED_BY_SCRIPT };
    const { results } = await desk.deadLetters.resolveDeadLetters(other);
    expect(results[0]?.result.value).toMatchObject({ detail: { reason: 'VERSION_CONFLICT' } });
    await desk.hand.complete(await desk.hand.claimNamed(redriving.executionId));
    await desk.caughtUp();
    const kinds = [LogEntryKind.DEAD_LETTER_CLOSED];
    const { entries } = await desk.admin.listLogEntries({ filter: { kinds }, pageSize: 1_000 });
    expect(entries.filter(({ subject }) => subject === a.deadLetterId)).toMatchObject([
      { actor: 'ann', reason: 'known' },
    ]);
  });

  it('against a redrive at the same time: one wins', async () => {
    for (let round = 0; round < 10; round++) {
      const { letter } = await givenUp();
      const { deadLetterId } = letter;
      const [redriven, resolved] = await Promise.allSettled([
        desk.deadLetters.redriveDeadLetter({ deadLetterId, expectedVersion: 1n }),
        desk.deadLetters.resolveDeadLetters({
          deadLetters: [{ deadLetterId, expectedVersion: 1n }],
          resolution: DeadLetterResolution.IGNORED,
        }),
      ]);
      const wasResolved = resolved.status === 'fulfilled' && only(resolved.value.results).result.case === 'ok';
      expect(redriven.status === 'fulfilled').toBe(!wasResolved);
      if (redriven.status === 'fulfilled') {
        await desk.hand.complete(await desk.hand.claimNamed(redriven.value.executionId));
      }
    }
  });

  it('refuses what nobody may say', async () => {
    const deadLetterId = '0198a0a0-0000-7000-8000-000000000000';
    const wrong = { deadLetters: [{ deadLetterId }, { deadLetterId }], resolution: DeadLetterResolution.REDRIVEN };
    const { fieldViolations } = await refusal(desk.deadLetters.resolveDeadLetters(wrong));
    expect(fieldViolations.map(({ field }) => field)).toEqual(['dead_letters[1].dead_letter_id', 'resolution']);
    expect(await refusal(desk.deadLetters.resolveDeadLetters({}))).toMatchObject({ reason: 'INVALID_FIELD' });
  });
});
