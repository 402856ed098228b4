/**
 * Output while things break: wake-ups that are lost, connections that are cut, a database that crashes. What was acknowledged
 * is read once and in order; what passes may be gone.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FrameMode, FramesCloseReason } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { monotonicMs, pause } from '../../src/runtime/clock.js';
import { ByHand, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { FramesByHand, json, said, text } from '../support/frames-by-hand.js';
import { RecordedTail } from '../support/history/tail.js';
import { type Muted, mute } from '../support/muted.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { RestartablePostgres } from '../support/restartable-postgres.js';
import { type Clients, clientsOf, startTailrace, type TestTailrace } from '../support/tailrace.js';

const { DURABLE, BEST_EFFORT } = FrameMode;
/** There is a pulse every second. */
const BOUND_MS = 10_000;

const running = async (hand: ByHand): Promise<Claim> =>
  hand.claimNamed(await hand.createOne(), { leaseDuration: seconds(600) });
const tailOf = (completion: () => Clients['completion'], { executionId }: Claim, modes: FrameMode[] = []) =>
  new RecordedTail({ name: 'tail', executionId, completion, modes });

/** Repeats an append until it is answered, as a worker does: the number of frames before it makes that safe. */
async function insist(frames: FramesByHand, claim: Claim, words: readonly string[], before: number): Promise<void> {
  for (;;) {
    const call = frames.append(
      claim,
      words.map((word) => text(word)),
      BigInt(before),
    );
    const reason = await call.then(
      () => undefined,
      (error: unknown) =>
        refusal(Promise.reject(error)).then(
          (detail) => detail.reason,
          () => 'NO_ANSWER',
        ),
    );
    if (reason === undefined) return;
    expect(['DATABASE_UNAVAILABLE', 'NO_ANSWER', 'DRAINING']).toContain(reason);
    await pause(20);
  }
}

describe('two servers whose wake-ups never reach each other', () => {
  let database: TestDatabase;
  let here: TestTailrace;
  let there: TestTailrace;
  let muted: Muted;
  beforeAll(async () => {
    database = await freshDatabase();
    muted = await mute(database);
    here = await startTailrace({ database: muted.database });
    there = await startTailrace({ database: muted.database });
  });
  afterAll(async () => {
    await Promise.all([here.stop(), there.stop()]);
    await muted.stop();
    await database.drop();
  });

  test('proof 14: frames and the end come with the next pulse', async () => {
    const hand = new ByHand(here);
    const frames = new FramesByHand(here);
    const claim = await running(hand);
    const tail = tailOf(() => there.completion, claim);
    await frames.append(claim, [text('first')]);
    await tail.until(({ frames: told }) => told.length === 1);
    for (const word of ['a', 'b', 'c']) {
      await frames.append(claim, [text(word)]);
      const appended = monotonicMs();
      await tail.until(({ frames: told }) => said(told).at(-1) === word);
      expect(monotonicMs() - appended).toBeLessThan(BOUND_MS);
    }
    await hand.complete(claim);
    const ended = monotonicMs();
    expect(said(await tail.whole())).toEqual(['first', 'a', 'b', 'c']);
    expect(monotonicMs() - ended).toBeLessThan(BOUND_MS);
    expect(tail.closed).toMatchObject({ reason: FramesCloseReason.EXECUTION_ENDED });
    expect(muted.heard).toEqual([]);
  });
});

test('wake-ups of output have a channel of their own', async () => {
  const tailrace = await startTailrace();
  const { database } = tailrace;
  const listener = new pg.Client({ connectionString: database.url });
  const heard = new Set<string>();
  await listener.connect();
  try {
    const claim = await running(new ByHand(tailrace));
    for await (const { entries } of tailrace.completion.watchLog({ start: StartPosition.EARLIEST })) {
      if (entries.some(({ kind }) => kind === LogEntryKind.ATTEMPT_STARTED)) break;
    }
    await listener.query(`listen tailrace_${database.schema}; listen tailrace_${database.schema}_frames`);
    listener.on('notification', ({ channel }) => heard.add(channel));
    // Of the claim nothing more is to be heard.
    await eventually(async () => {
      heard.clear();
      await pause(1_000);
      return heard.size === 0;
    });
    for (let i = 0; i < 10; i++) await new FramesByHand(tailrace).append(claim, [text('a')]);
    await eventually(() => heard.size > 0);
    expect([...heard]).toEqual([`tailrace_${database.schema}_frames`]);
  } finally {
    await listener.end();
    await tailrace.stop();
  }
});

test('connections that are cut leave no gap and no double', async () => {
  const database = await freshDatabase();
  const { proxy, url } = await FaultProxy.before(database.url);
  const tailrace = await startTailrace({ database: { ...database, url } });
  try {
    const hand = new ByHand(tailrace);
    const frames = new FramesByHand(tailrace);
    const claim = await running(hand);
    const tail = tailOf(() => tailrace.completion, claim);
    const words = Array.from({ length: 120 }, (_, i) => `${i}`);
    for (let i = 0; i < words.length; i += 3) {
      if (i % 15 === 0) setImmediate(() => proxy.cut());
      await insist(frames, claim, words.slice(i, i + 3), i);
    }
    await eventually(async () => (await fetch(`${tailrace.url}/readyz`)).ok);
    await hand.complete(claim);
    expect(said(await tail.whole())).toEqual(words);
    expect(tail.ends.length).toBeGreaterThan(0);
  } finally {
    await tailrace.stop();
    await proxy.close();
    await database.drop();
  }
});

test('proof 15: a crash of the database and a restart of the server keep what was acknowledged', async () => {
  const postgres = await RestartablePostgres.make();
  let tailrace = await startTailrace({ database: postgres.database });
  try {
    let clients: Clients = clientsOf(tailrace.url);
    const hand = new ByHand(tailrace);
    const claim = await running(hand);
    const tail = tailOf(() => clients.completion, claim);
    const words = Array.from({ length: 60 }, (_, i) => `${i}`);
    await insist(new FramesByHand(clients), claim, words.slice(0, 20), 0);
    // Who comes later gets the document, not its patches.
    await tail.until(({ frames }) => frames.length === 20);
    await new FramesByHand(clients).append(claim, [text('passes', '', BEST_EFFORT), json({ step: 1 })]);
    await tail.until(({ frames }) => frames.length === 22);
    await postgres.crash();
    const durable = tailOf(() => clients.completion, claim, [DURABLE]);
    await insist(new FramesByHand(clients), claim, words.slice(20, 40), 20);
    const everything = await new FramesByHand(clients).all(claim.executionId);
    expect(said(everything)).toEqual(['{"step": 1}', ...words.slice(0, 40)]);
    await new FramesByHand(clients).append(claim, [text('passes too', '', BEST_EFFORT), json({ step: 2 })]);
    await tailrace.running.stop();
    tailrace = await startTailrace({ database: postgres.database });
    clients = clientsOf(tailrace.url);
    await insist(new FramesByHand(clients), claim, words.slice(40), 40);
    await new ByHand(clients).complete(claim);
    expect(said(await durable.whole())).toEqual(words);
    const told = await tail.whole();
    expect(said(told.filter(({ mode }) => mode === DURABLE))).toEqual(words);
    expect(said(told.filter(({ mode }) => mode === FrameMode.SUMMARY))).toEqual(['{"step":1}', '{"step":2}']);
    const broken = (await verify(tailrace.running.engine.database)).filter(({ violations }) => violations.length > 0);
    expect(broken).toEqual([]);
  } finally {
    await tailrace.running.stop();
    await postgres.database.drop();
  }
});

test('many streams share their commits', async () => {
  const tailrace = await startTailrace();
  try {
    const STREAMS = 50;
    const CALLS = 20;
    const hand = new ByHand(tailrace);
    const ids = await hand.create(...Array.from({ length: STREAMS }, () => ({})));
    const claims = await hand.claim({ maxExecutions: STREAMS, leaseDuration: seconds(600) });
    expect(claims).toHaveLength(ids.length);
    const frames = new FramesByHand(tailrace);
    const words = Array.from({ length: CALLS }, (_, i) => `${i}`);
    const before = tailrace.running.engine.database.sent;
    await Promise.all(
      claims.map(async (claim) => {
        for (const word of words) await frames.append(claim, [text(word)]);
      }),
    );
    expect(tailrace.running.engine.database.sent - before).toBeLessThan((STREAMS * CALLS) / 2);
    for (const { executionId } of claims) expect(said(await frames.all(executionId))).toEqual(words);
  } finally {
    await tailrace.stop();
  }
});
