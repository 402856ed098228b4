/** Output of attempts, call by call: what is appended is read once, in order and to the byte, and only its holder appends. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { type Frame, FrameMode, FramesCloseReason } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { encodeFrameCursor } from '../../src/domain/frame-cursor.js';
import { type ByHand, leaseOf, ok, only, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FramesByHand, json, said, text } from '../support/frames-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { DURABLE, SUMMARY, BEST_EFFORT } = FrameMode;
const LIMIT = 200;

let recorded: Recorded;
let hand: ByHand;
let frames: FramesByHand;
beforeAll(async () => {
  recorded = await Recorded.start({ environment: { TAILRACE_MAX_FRAMES: String(LIMIT) } });
  hand = recorded.hand();
  frames = new FramesByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const running = async (): Promise<Claim> => hand.claimNamed(await hand.createOne(), { leaseDuration: seconds(600) });

describe('AppendFrames', () => {
  test('answers how far the stream is, and the frames come back as they were', async () => {
    const claim = await running();
    const first = await frames.append(claim, [text('a', 'token'), json({ step: 1 }), text('passing', '', BEST_EFFORT)]);
    expect(first).toMatchObject({ count: 1n, summaryVersion: 1n, duplicate: false });
    expect(first.cancelRequest).toBeUndefined();
    const bytes = {
      mode: DURABLE,
      type: 'raw',
      payload: { body: { case: 'data', value: Uint8Array.of(0, 255, 10) } },
    } as const;
    const second = await frames.append(claim, [bytes, { type: 'empty' }]);
    expect(second).toMatchObject({ count: 3n, summaryVersion: 1n });
    const page = await frames.read(claim.executionId);
    expect(page.closed).toBeUndefined();
    // The document first, since the reader has just begun.
    expect(
      page.frames.map(({ mode, type, number, summaryVersion, summaryWhole }) => [
        mode,
        type,
        number,
        summaryVersion,
        summaryWhole,
      ]),
    ).toEqual([
      [SUMMARY, '', 0n, 1n, true],
      [DURABLE, 'token', 1n, 0n, false],
      [BEST_EFFORT, '', 0n, 0n, false],
      [DURABLE, 'raw', 2n, 0n, false],
      [DURABLE, 'empty', 3n, 0n, false],
    ]);
    expect(page.frames.map(({ attemptNumber }) => attemptNumber)).toEqual([1, 1, 1, 1, 1]);
    expect(page.frames[1]?.payload).toMatchObject({ contentType: 'text/plain; charset=utf-8', body: { value: 'a' } });
    expect(page.frames[3]?.payload).toMatchObject({
      contentType: 'application/octet-stream',
      body: { case: 'data', value: Uint8Array.of(0, 255, 10) },
    });
    expect(page.frames[4]?.payload).toBeUndefined();
    expect(page.cursor).toBe(second.lastCursor);
    await hand.complete(claim);
  });

  test('with the expected count a repeat appends nothing twice, and other content is refused', async () => {
    const claim = await running();
    const append = (words: string[], expectedCount: number) =>
      frames.append(
        claim,
        words.map((word) => text(word)),
        BigInt(expectedCount),
      );
    expect(await append(['a', 'b'], 0)).toMatchObject({ count: 2n, duplicate: false });
    expect(await append(['a', 'b'], 0)).toMatchObject({ count: 2n, duplicate: true });
    expect(await append(['b'], 1)).toMatchObject({ count: 2n, duplicate: true });
    // One that goes on behind what is there already.
    expect(await append(['b', 'c'], 1)).toMatchObject({ count: 3n, duplicate: false });
    expect(await append(['d'], 3)).toMatchObject({ count: 4n, duplicate: false });
    for (const [words, expected] of [
      [['x'], 3],
      [['c', 'x'], 2],
      [['d', 'e', 'f'], 2],
      [['e'], 5],
      [['e'], 4_000_000_000],
    ] as const) {
      expect(await refusal(append([...words], expected))).toMatchObject({
        reason: 'VERSION_CONFLICT',
        metadata: { execution_id: claim.executionId, current_count: '4' },
      });
    }
    const typed = frames.append(claim, [text('d', 'other type')], 3n);
    expect(await refusal(typed)).toMatchObject({ reason: 'VERSION_CONFLICT' });
    expect(await refusal(frames.append(claim, [json({})], 3n))).toMatchObject({ reason: 'VERSION_CONFLICT' });
    expect(await frames.append(claim, [json({ a: 1 })], 4n)).toMatchObject({ count: 4n, summaryVersion: 1n });
    expect(said((await frames.read(claim.executionId, { modes: [DURABLE] })).frames)).toEqual(['a', 'b', 'c', 'd']);
    await hand.complete(claim);
  });

  test('a repeat whose first part is there passes over patches before it, and applies those behind it', async () => {
    const claim = await running();
    await frames.append(claim, [json({ n: 1 }), text('a')], 0n);
    const more = await frames.append(claim, [json({ n: 1 }), text('a'), json({ n: 2 }), text('b')], 0n);
    expect(more).toMatchObject({ count: 2n, summaryVersion: 2n, duplicate: false });
    expect(await frames.append(claim, [json({ n: 1 }), text('a'), json({ n: 2 }), text('b')], 0n)).toMatchObject({
      count: 2n,
      summaryVersion: 2n,
      duplicate: true,
    });
    await hand.complete(claim);
  });

  test('a call that would exceed a limit appends nothing, and frames that pass are never too many', async () => {
    const claim = await running();
    const many = (count: number, mode: FrameMode) => Array.from({ length: count }, (_, i) => text(String(i), '', mode));
    await frames.append(claim, many(LIMIT - 1, DURABLE));
    for (let i = 0; i < 3; i++) await frames.append(claim, many(1_000, BEST_EFFORT));
    const over = frames.append(claim, [...many(2, DURABLE), json({ a: 1 }), text('passing', '', BEST_EFFORT)]);
    expect(await refusal(over)).toMatchObject({ reason: 'FRAME_LIMIT_EXCEEDED', metadata: { limit: String(LIMIT) } });
    expect(await frames.append(claim, many(1, DURABLE))).toMatchObject({ count: BigInt(LIMIT), summaryVersion: 0n });
    expect(await refusal(frames.append(claim, many(1, DURABLE)))).toMatchObject({ reason: 'FRAME_LIMIT_EXCEEDED' });
    const large = 'x'.repeat(60_000);
    for (const key of ['a', 'b', 'c', 'd']) await frames.append(claim, [json({ [key]: large })]);
    const fifth = frames.append(claim, [json({ f: 1 }), json({ e: large }), json({ e: null })]);
    expect(await refusal(fifth)).toMatchObject({ reason: 'FRAME_LIMIT_EXCEEDED', metadata: { limit: '262144' } });
    expect(await frames.append(claim, [json({ a: null }), json({ e: large })])).toMatchObject({ summaryVersion: 6n });
    const document = await frames.document(claim.executionId);
    expect(Object.keys(document)).toEqual(['b', 'c', 'd', 'e']);
    await hand.complete(claim);
  });

  test.each([
    ['a list', '[]'],
    ['a word', '"word"'],
    ['nothing', 'null'],
    ['no JSON', '{"a":'],
    ['a number beyond all bounds', '{"a":1e400}'],
    ['a number too close to zero', '{"a":[1e-20000]}'],
    ['a number of too many digits', `{"a":0.${'0'.repeat(20_000)}1}`],
    ['the character NUL', '{"a":"\\u0000"}'],
    ['NUL in a name', '{"a\\u0000":1}'],
    ['half of a surrogate pair', '{"a":["\\ud800"]}'],
    ['too many levels', `${'{"a":'.repeat(70)}1${'}'.repeat(70)}`],
    ['far too many levels', `{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`],
  ])('refuses a patch that is %s', async (_, patch) => {
    const claim = await running();
    const call = frames.append(claim, [
      text('a'),
      { mode: SUMMARY, payload: { body: { case: 'text', value: patch } } },
    ]);
    const detail = await refusal(call);
    expect(detail).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'frames[1].payload' }] });
    expect((await frames.read(claim.executionId)).frames).toEqual([]);
    await hand.complete(claim);
  });

  test('refuses what is malformed, and frames that are too large', async () => {
    const claim = await running();
    const fields = async (call: Promise<unknown>) => (await refusal(call)).fieldViolations.map(({ field }) => field);
    expect(await fields(frames.append(claim, []))).toEqual(['frames']);
    const wrong = [
      text('a', 'x'.repeat(201)),
      { mode: 9 as FrameMode },
      { mode: SUMMARY },
      { mode: SUMMARY, payload: { body: { case: 'data', value: Uint8Array.of(0xff) } } },
    ] as const;
    expect(await fields(frames.append(claim, [...wrong]))).toEqual([
      'frames[0].type',
      'frames[1].mode',
      'frames[2].payload',
      'frames[3].payload',
    ]);
    expect(await fields(frames.append(claim, [text('a')], -1n))).toEqual(['expected_count']);
    const large = frames.append(claim, [text('x'.repeat(65_537))]);
    expect(await refusal(large)).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE', metadata: { limit: '65536' } });
    expect(await frames.append(claim, [text('x'.repeat(65_536))])).toMatchObject({ count: 1n });
    await hand.complete(claim);
  });

  test('does not renew the lease, but counts as its first sign of life', async () => {
    const id = await hand.createOne();
    const claim = await hand.claimNamed(id, { leaseDuration: seconds(5), startWithin: seconds(4) });
    await frames.append(claim, [text('a')]);
    const expired = async () => (await refusal(frames.append(claim, [text('b')]))).metadata['why'] === 'expired';
    await eventually(() => expired().catch(() => false));
    const attempts = await recorded.clients.admin.listAttempts({ executionId: id });
    await eventually(async () => {
      const [first] = (await recorded.clients.admin.listAttempts({ executionId: id })).attempts;
      return first?.outcome === AttemptOutcome.LEASE_EXPIRED;
    });
    expect(attempts.attempts[0]?.outcome).not.toBe(AttemptOutcome.NOT_STARTED);
    await hand.complete(await hand.claimNamed(id));
  });

  test('tells that cancellation was asked for, and takes frames until the end', async () => {
    const claim = await running();
    await hand.cancel(claim.executionId, { reason: 'enough', policy: { grace: seconds(60) } });
    const answer = await frames.append(claim, [text('goodbye')]);
    expect(answer).toMatchObject({ count: 1n, cancelRequest: { reason: 'enough' } });
    await hand.fail(claim, FailureClass.CANCELED);
    expect(await refusal(frames.append(claim, [text('too late')]))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    expect(said((await frames.read(claim.executionId)).frames)).toEqual(['goodbye']);
  });

  test('proof 1: a holder that was taken over is refused, while its successor appends to a stream of its own', async () => {
    const id = await hand.createOne();
    const lost = await hand.claimNamed(id, { leaseDuration: seconds(4) });
    await frames.append(lost, [text('of the first')]);
    await eventually(
      async () =>
        (await recorded.clients.admin.listAttempts({ executionId: id })).attempts[0]?.outcome ===
        AttemptOutcome.LEASE_EXPIRED,
    );
    const held = await hand.claimNamed(id);
    expect(await refusal(frames.append(lost, [text('x')]))).toMatchObject({ reason: 'LEASE_LOST' });
    await frames.append(held, [text('of the second')]);
    expect(await refusal(frames.append(lost, [text('x')], 1n))).toMatchObject({ reason: 'LEASE_LOST' });
    await hand.complete(held);
    expect(await refusal(frames.append(lost, [text('x')]))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    expect(await refusal(frames.append(held, [text('x')]))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    const read = async (attemptNumber: number) => frames.read(id, { attemptNumber });
    const [first, second] = [await read(1), await read(2)];
    expect([said(first.frames), said(second.frames)]).toEqual([['of the first'], ['of the second']]);
    expect(first.closed).toMatchObject({
      reason: FramesCloseReason.ATTEMPT_ENDED,
      outcome: AttemptOutcome.LEASE_EXPIRED,
    });
    expect(second.closed).toMatchObject({
      reason: FramesCloseReason.EXECUTION_ENDED,
      outcome: AttemptOutcome.SUCCEEDED,
    });
  });

  test('refuses strangers: other leases, tokens, namespaces and executions', async () => {
    const claim = await running();
    const lease = leaseOf(claim);
    const { engine } = recorded.clients;
    const other = '00000000-0000-4000-8000-000000000000';
    const append = (more: object, namespace = '') =>
      refusal(engine.appendFrames({ namespace, lease: { ...lease, ...more }, frames: [text('x')] }));
    expect(await append({ leaseId: other })).toMatchObject({ reason: 'LEASE_LOST', metadata: { why: 'superseded' } });
    expect(await append({ fencingToken: 1n << 40n })).toMatchObject({ reason: 'LEASE_LOST' });
    expect(await append({ executionId: other })).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    expect(await append({}, 'elsewhere')).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    expect((await frames.read(claim.executionId)).frames).toEqual([]);
    await hand.complete(claim);
  });

  test('many calls for one stream at once, in several orders, leave no gap and no double', async () => {
    const claim = await running();
    const calls = Array.from({ length: 60 }, (_, i) => frames.append(claim, [text(`${i}`), text(`${i} more`)]));
    const counts = (await Promise.all(calls)).map(({ count }) => count);
    expect(new Set(counts).size).toBe(60);
    const { frames: all } = await frames.read(claim.executionId);
    expect(all.map(({ number }) => number)).toEqual(all.map((_, i) => BigInt(i + 1)));
    expect(new Set(said(all)).size).toBe(120);
    for (let i = 0; i < 120; i += 2)
      expect(all[i + 1] && said([all[i + 1] as Frame])).toEqual([`${said([all[i] as Frame])} more`]);
    await hand.complete(claim);
  });
});

describe('ReadFrames and GetFrameSummary', () => {
  test('pages by cursor, with any modes, from either end', async () => {
    const claim = await running();
    const written = Array.from({ length: 50 }, (_, i) => text(String(i), '', i % 5 === 4 ? BEST_EFFORT : DURABLE));
    await frames.append(claim, [...written.slice(0, 20), json({ a: 1 }), ...written.slice(20)]);
    const everything = await frames.all(claim.executionId, { pageSize: 7 });
    expect(said(everything.filter(({ mode }) => mode !== SUMMARY))).toEqual(said(written));
    expect(everything.filter(({ mode }) => mode === SUMMARY)).toHaveLength(1);
    const durable = await frames.all(claim.executionId, { pageSize: 7, modes: [DURABLE] });
    expect(said(durable)).toEqual(said(written.filter(({ mode }) => mode === DURABLE)));
    for (const [i, frame] of durable.entries()) {
      const rest = await frames.all(claim.executionId, { modes: [DURABLE], cursor: frame.cursor });
      expect(said(rest)).toEqual(said(durable).slice(i + 1));
    }
    const latest = await frames.read(claim.executionId, { start: StartPosition.LATEST, modes: [DURABLE, BEST_EFFORT] });
    expect([latest.frames, latest.more]).toEqual([[], false]);
    await frames.append(claim, [text('new')]);
    const { frames: after } = await frames.read(claim.executionId, { cursor: latest.cursor });
    expect(said(after)).toEqual(['new']);
    await hand.complete(claim);
  });

  test('an execution that was never run, one that is not there, attempts that are not, and foreign cursors', async () => {
    const waiting = await hand.createOne({ lane: 'never' });
    const claim = await running();
    const [one, other] = [await frames.append(claim, [text('a')]), await frames.append(await running(), [text('a')])];
    const { completion } = recorded.clients;
    const id = claim.executionId;
    const calls = [
      (asked: object) => completion.readFrames({ executionId: id, ...asked }),
      (asked: object) =>
        completion
          .tailFrames({ executionId: id, ...asked })
          [Symbol.asyncIterator]()
          .next(),
    ];
    for (const call of [...calls, (asked: object) => completion.getFrameSummary({ executionId: id, ...asked })]) {
      expect(await refusal(call({ executionId: waiting }))).toMatchObject({ reason: 'ATTEMPT_NOT_FOUND' });
      expect(await refusal(call({ attemptNumber: 2 }))).toMatchObject({ reason: 'ATTEMPT_NOT_FOUND' });
      expect(await refusal(call({ namespace: 'elsewhere' }))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
      expect(await refusal(call({ executionId: '00000000-0000-4000-8000-000000000000' }))).toMatchObject({
        reason: 'EXECUTION_NOT_FOUND',
      });
    }
    for (const call of calls) {
      expect(await refusal(call({ cursor: other.lastCursor }))).toMatchObject({ reason: 'BAD_CURSOR' });
      expect(await refusal(call({ cursor: 'nonsense' }))).toMatchObject({ reason: 'BAD_CURSOR' });
      const beyond = encodeFrameCursor({ execution: id, attempt: 1, durable: 2, version: 0, passing: 0 });
      expect(await refusal(call({ cursor: beyond }))).toMatchObject({ reason: 'BAD_CURSOR' });
      expect(await refusal(call({ cursor: recorded.log.entries[0]?.cursor }))).toMatchObject({ reason: 'BAD_CURSOR' });
      const both = call({ cursor: one.lastCursor, start: StartPosition.EARLIEST });
      expect(await refusal(both)).toMatchObject({ reason: 'INVALID_FIELD' });
    }
    await hand.fail(claim, FailureClass.TRANSIENT);
    const second = await eventuallyClaimed(id);
    for (const call of calls) {
      expect(await refusal(call({ cursor: one.lastCursor, attemptNumber: 2 }))).toMatchObject({ reason: 'BAD_CURSOR' });
    }
    // Without a number the attempt is that of the cursor.
    expect(await frames.read(id, { cursor: one.lastCursor })).toMatchObject({
      frames: [],
      closed: { outcome: AttemptOutcome.FAILED },
    });
    await hand.complete(second);
    await hand.cancel(waiting);
  });

  test('the summary is there from the first attempt on, and says when it is closed', async () => {
    const claim = await running();
    const id = claim.executionId;
    const get = async (attemptNumber = 0) =>
      (await recorded.clients.completion.getFrameSummary({ executionId: id, attemptNumber })).summary;
    expect(await get()).toMatchObject({ attemptNumber: 1, version: 0n, document: { body: { value: '{}' } } });
    await frames.append(claim, [json({ a: { b: 1, c: 2 }, d: [1] }), json({ a: { b: null }, e: '' })]);
    const open = await get();
    expect(open).toMatchObject({ version: 2n, document: { contentType: 'application/json' } });
    expect([open?.updateTime, open?.closed]).toEqual([expect.anything(), undefined]);
    expect(await frames.document(id)).toEqual({ a: { c: 2 }, d: [1], e: '' });
    await hand.fail(claim, FailureClass.TRANSIENT);
    const second = await eventuallyClaimed(id);
    expect(await get()).toMatchObject({ attemptNumber: 2, version: 0n });
    expect(await get(1)).toMatchObject({ version: 2n, closed: { reason: FramesCloseReason.ATTEMPT_ENDED } });
    await hand.complete(second);
  });

  async function eventuallyClaimed(id: string): Promise<Claim> {
    let claim: Claim | undefined;
    await eventually(async () => {
      claim = await hand.claimNamed(id).catch(() => undefined);
      return claim !== undefined;
    });
    return only([claim as Claim]);
  }
});

describe('the last frames of a completion', () => {
  const complete = async (claim: Claim, more: object) =>
    ok(
      only(
        (await recorded.clients.engine.completeExecutions({ completions: [{ lease: leaseOf(claim), ...more }] }))
          .results,
      ),
    );

  test('are written with it, once', async () => {
    const claim = await running();
    await frames.append(claim, [text('first')]);
    const last = {
      frames: [text('last'), json({ done: true }), text('passing', '', BEST_EFFORT)],
      result: { body: { case: 'text', value: 'r' } },
    };
    expect(await complete(claim, last)).toMatchObject({ duplicate: false });
    expect(await complete(claim, last)).toMatchObject({ duplicate: true });
    const other = complete(claim, { ...last, frames: [text('another')] });
    expect(await refusal(other)).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    const page = await frames.read(claim.executionId, { modes: [DURABLE, BEST_EFFORT] });
    expect(said(page.frames)).toEqual(['first', 'last', 'passing']);
    expect(page.closed).toMatchObject({ reason: FramesCloseReason.EXECUTION_ENDED });
    expect(await frames.document(claim.executionId)).toEqual({ done: true });
  });

  test('are refused with it when they are too many, alone among others', async () => {
    const claims = await Promise.all(Array.from({ length: 6 }, () => running()));
    const [full, small, lost] = claims as [Claim, Claim, Claim];
    await frames.append(
      full,
      Array.from({ length: LIMIT }, (_, i) => text(String(i))),
    );
    await hand.release(lost);
    const completions = claims.map((claim, i) => ({ lease: leaseOf(claim), frames: i === 4 ? [] : [text('last')] }));
    const { results } = await recorded.clients.engine.completeExecutions({ completions });
    expect(results.map(({ result }) => (result.case === 'error' ? result.value.detail?.reason : result.case))).toEqual([
      'FRAME_LIMIT_EXCEEDED',
      'ok',
      'LEASE_LOST',
      'ok',
      'ok',
      'ok',
    ]);
    expect(said((await frames.read(small.executionId)).frames)).toEqual(['last']);
    expect((await frames.read(lost.executionId)).frames).toEqual([]);
    expect(await complete(full, {})).toMatchObject({ duplicate: false });
    await hand.complete(await hand.claimNamed(lost.executionId));
  });

  test('are refused with a completion that comes too late, and nothing of them is written', async () => {
    const claim = await running();
    await hand.cancel(claim.executionId, { policy: { grace: seconds(60), lateCompletion: 2 } });
    expect(await refusal(complete(claim, { frames: [text('late')] }))).toMatchObject({ reason: 'WRONG_STATE' });
    expect((await frames.read(claim.executionId)).frames).toEqual([]);
    await hand.fail(claim, FailureClass.CANCELED);
  });

  test('come with children, all or nothing', async () => {
    const claim = await running();
    await frames.append(
      claim,
      Array.from({ length: LIMIT - 1 }, (_, i) => text(String(i))),
    );
    const children = [{ type: 'child', lane: 'children' }];
    const many = complete(claim, { children, frames: [text('1'), text('2')] });
    expect(await refusal(many)).toMatchObject({ reason: 'FRAME_LIMIT_EXCEEDED' });
    const completed = await complete(claim, { children, frames: [text('last')] });
    expect(completed.childExecutionIds).toHaveLength(1);
    expect(await complete(claim, { children, frames: [text('last')] })).toMatchObject({
      duplicate: true,
      childExecutionIds: completed.childExecutionIds,
    });
    const { executions } = await recorded.clients.admin.listExecutions({ filter: { lanes: ['children'] } });
    expect(executions.map(({ executionId }) => executionId)).toEqual(completed.childExecutionIds);
    expect(said(await frames.all(claim.executionId))).toHaveLength(LIMIT);
    await hand.complete(await hand.claimNamed(only(executions).executionId));
  });

  test('come with what is claimed next', async () => {
    const claim = await running();
    const next = await hand.createOne({ lane: 'next' });
    const answer = await recorded.clients.engine.completeExecutions({
      completions: [{ lease: leaseOf(claim), frames: [text('last')] }],
      claimNext: { mode: 3, worker: hand.worker, lanes: [{ lane: 'next' }] },
    });
    expect(answer.claims.map(({ executionId }) => executionId)).toEqual([next]);
    expect(said((await frames.read(claim.executionId)).frames)).toEqual(['last']);
    await hand.complete(only(answer.claims));
  });
});
