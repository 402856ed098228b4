/** What the desk offers beside redriving and resolving: causes and figures, reopening, purging; and what each costs at most. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import {
  countDeadLetters,
  type LetterFilter,
  listDeadLetterGroups,
  readDeadLetterStats,
} from '../../../src/repository/dead-letters/index.js';
import { lettersPart } from '../../../src/repository/retention/index.js';
import { monotonicMs, wallMs } from '../../../src/runtime/clock.js';
import { only, refusal } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';
import { giveUp } from '../../support/given-up.js';
import { HeldRows } from '../../support/held-rows.js';

const { OPEN, CLOSED } = DeadLetterState;
const { IGNORED, HANDLED_BY_SCRIPT } = DeadLetterResolution;
const HOUR_MS = 3_600_000;

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterEach(async () => {
  vi.restoreAllMocks();
  expect(await desk.broken()).toEqual([]);
});
afterAll(async () => {
  await desk.stop();
});

const at = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1_000)), nanos: 0 });

/** So many letters of each cause, one type and lane per cause. */
async function causes(namespace: string, numbers: readonly number[]): Promise<string[][]> {
  const given = numbers.flatMap((number, cause) =>
    Array.from({ length: number }, (_, i) => ({
      spec: { type: `type ${cause}`, lane: `lane ${cause}` },
      message: `order ${i} is broken`,
    })),
  );
  const letters = await giveUp(desk, namespace, given);
  return numbers.map((number) => letters.splice(0, number));
}

async function resolve(namespace: string, ids: readonly string[], resolution = IGNORED): Promise<void> {
  const deadLetters = ids.map((deadLetterId) => ({ deadLetterId }));
  await desk.deadLetters.resolveDeadLetters({ namespace, deadLetters, resolution });
}

async function get(namespace: string, deadLetterId: string) {
  const { deadLetter } = await desk.deadLetters.getDeadLetter({ namespace, deadLetterId });
  if (!deadLetter) throw new Error('an answer without a letter');
  return deadLetter;
}

/** The server's clock, and what it is asked, two hours ahead: what was closed just now has been so for a while. */
async function later<T>(call: (closedBeforeTime: ReturnType<typeof at>) => Promise<T>): Promise<T> {
  const now = wallMs() + 2 * HOUR_MS;
  const clock = vi.spyOn(Date, 'now').mockReturnValue(now);
  return await call(at(now - HOUR_MS)).finally(() => clock.mockRestore());
}

const NOTHING: LetterFilter = {
  ...{ states: null, lanes: null, types: null, reasons: null, fingerprints: null, resolutions: null, tags: null },
  ...{ actor: null, createdFrom: null, createdBefore: null, execution: null, flow: null, subscriptions: null },
  ...{ eventTypes: null, consumers: null },
};

describe('causes and figures', () => {
  it('group alike failures, most numerous first, and page through them', async () => {
    const namespace = 'causes';
    const [few = [], many = [], some = []] = await causes(namespace, [2, 9, 5]);
    await resolve(namespace, [...few.slice(0, 1), ...many.slice(0, 3)]);
    const groups = async (filter?: object, pageSize = 2) => {
      const found = [];
      for (let pageToken = '', more = true; more; more = pageToken !== '') {
        const page = await desk.deadLetters.listDeadLetterGroups({ namespace, pageSize, pageToken, ...filter });
        found.push(...page.groups);
        pageToken = page.nextPageToken;
      }
      return found;
    };
    const sizes = async (filter?: object) => (await groups(filter)).map(({ type, count }) => [type, Number(count)]);
    expect(await sizes()).toEqual([
      ['type 1', 6],
      ['type 2', 5],
      ['type 0', 1],
    ]);
    const [first] = await groups();
    const open = many.slice(3).sort();
    const newest = await get(namespace, open.at(-1) ?? '');
    const oldest = await get(namespace, open[0] ?? '');
    expect(first).toMatchObject({
      fingerprint: newest.fingerprint,
      reason: DeadLetterReason.PERMANENT,
      message: newest.failure?.message,
      countCapped: false,
      sampleDeadLetterId: newest.deadLetterId,
      lastCreateTime: newest.createTime,
      firstCreateTime: oldest.createTime,
    });
    // A filter that says nothing of states wants all of them, as elsewhere.
    expect(await sizes({ filter: {} })).toEqual([
      ['type 1', 9],
      ['type 2', 5],
      ['type 0', 2],
    ]);
    expect(await sizes({ filter: { states: [CLOSED] } })).toEqual([
      ['type 1', 3],
      ['type 0', 1],
    ]);
    expect(await sizes({ filter: { fingerprints: [newest.fingerprint], states: [OPEN] } })).toEqual([['type 1', 6]]);
    expect(await sizes({ filter: { lanes: ['lane 2'], states: [OPEN] } })).toEqual([['type 2', 5]]);
    const executionId = (await get(namespace, some[0] ?? '')).subject?.subject.value;
    expect(await sizes({ filter: { executionId } })).toEqual([['type 2', 1]]);
    const { nextPageToken: pageToken } = await desk.deadLetters.listDeadLetterGroups({ namespace, pageSize: 1 });
    const other = desk.deadLetters.listDeadLetterGroups({ namespace, pageToken, filter: { states: [CLOSED] } });
    expect(await refusal(other)).toMatchObject({ reason: 'BAD_CURSOR' });
  });

  it('say what is open by reason, lane, type and age, and what came and went', async () => {
    const namespace = 'figures';
    const [a = [], b = []] = await causes(namespace, [3, 5]);
    await resolve(namespace, b.slice(0, 2), HANDLED_BY_SCRIPT);
    await resolve(namespace, b.slice(2, 3));
    await desk.deadLetters.redriveDeadLetter({ namespace, deadLetterId: b[4] ?? '' });
    const stats = await desk.deadLetters.getDeadLetterStats({ namespace });
    const ages = (youngest: bigint) => [
      { value: '1h', count: youngest },
      ...['1d', '7d', '30d', 'older'].map((value) => ({ value, count: 0n })),
    ];
    expect(stats).toMatchObject({
      openCount: 4n,
      redrivingCount: 1n,
      closedCount: 3n,
      reasons: [{ value: 'PERMANENT', count: 4n }],
      lanes: [
        { value: 'lane 0', count: 3n },
        { value: 'lane 1', count: 1n },
      ],
      types: [
        { value: 'type 0', count: 3n },
        { value: 'type 1', count: 1n },
      ],
      resolutions: [
        { value: 'HANDLED_BY_SCRIPT', count: 2n },
        { value: 'IGNORED', count: 1n },
      ],
      ages: ages(4n),
      openedLastDayCount: 8n,
      openedLastHourCount: 8n,
      closedLastDayCount: 3n,
      closedLastHourCount: 3n,
    });
    const oldest = (await Promise.all([...a, b[3] ?? ''].map((id) => get(namespace, id)))).map(
      ({ createTime }) => createTime,
    );
    expect(oldest).toContainEqual(stats.oldestOpenTime);
    const filter = { lanes: ['lane 1'], states: [CLOSED] };
    expect(await desk.deadLetters.getDeadLetterStats({ namespace, filter })).toMatchObject({
      ...{ openCount: 0n, redrivingCount: 0n, closedCount: 3n, reasons: [], types: [], ages: ages(0n) },
      ...{ openedLastHourCount: 3n, closedLastHourCount: 3n },
    });
    const nobodys = await desk.deadLetters.getDeadLetterStats({ namespace: 'nobody' });
    expect(nobodys).toMatchObject({ openCount: 0n, lanes: [], ages: ages(0n) });
    expect(nobodys).not.toHaveProperty('oldestOpenTime');
  });

  it('read no more than they say, and tell when that was not all', async () => {
    const namespace = 'much';
    await causes(namespace, [20, 2]);
    const { database, registry } = desk.core;
    const id = (await registry.namespace(namespace)) ?? 0;
    const of = (type: string) => ({ ...NOTHING, states: [OPEN], types: [type] });
    const count = (type: string, most: number, budget: number) =>
      countDeadLetters(database, id, of(type), most, budget);
    expect(await count('type 0', 5, 1_000)).toEqual({ count: 5, capped: true });
    expect(await count('type 0', 20, 1_000)).toEqual({ count: 20, capped: false });
    expect(await count('type 0', 100, 22)).toEqual({ count: 20, capped: false });
    expect(await count('none', 100, 21)).toEqual({ count: 0, capped: true });
    const stats = await readDeadLetterStats(database, id, NOTHING, 10);
    expect(stats).toMatchObject({ states: { 1: 10 }, opened_in_day: 10 });
    // The oldest is known although it is not among those.
    const { deadLetters } = await desk.deadLetters.listDeadLetters({ namespace, pageSize: 1_000 });
    expect(stats.oldest_open_at?.getTime()).toBe(
      Math.min(
        ...deadLetters.map(
          ({ createTime }) => Number(createTime?.seconds) * 1_000 + Math.floor((createTime?.nanos ?? 0) / 1e6),
        ),
      ),
    );
    const page = await listDeadLetterGroups(
      database,
      { namespace: id, filter: { ...NOTHING, states: [OPEN] }, after: undefined, size: 10 },
      { rows: 20, least: 4 },
    );
    // Ten rows of each are read first, and twenty of the one that has more.
    expect(page.groups).toMatchObject([
      { count: 20, capped: true },
      { count: 2, capped: false },
    ]);
  });
});

describe('ReopenDeadLetter', () => {
  it('opens it again, with a word, and lets it be redriven', async () => {
    const namespace = 'again';
    const [deadLetterId = ''] = only(await causes(namespace, [1]));
    await resolve(namespace, [deadLetterId]);
    const reopen = (expectedVersion: bigint) =>
      desk.deadLetters.reopenDeadLetter({ namespace, deadLetterId, expectedVersion, actor: 'ann', note: 'not so' });
    expect(await refusal(reopen(1n))).toMatchObject({ reason: 'VERSION_CONFLICT', metadata: { current_version: '2' } });
    const { deadLetter } = await reopen(2n);
    expect(deadLetter).toMatchObject({
      ...{ state: OPEN, resolution: DeadLetterResolution.UNSPECIFIED, version: 3n, actor: 'ann', note: 'not so' },
    });
    expect(deadLetter).not.toHaveProperty('closeTime');
    // A repeat answers it, and tells nobody once more.
    expect((await reopen(0n)).deadLetter).toMatchObject({ state: OPEN, version: 3n });
    expect(await refusal(reopen(2n))).toMatchObject({ reason: 'VERSION_CONFLICT' });
    const { executionId } = await desk.deadLetters.redriveDeadLetter({ namespace, deadLetterId });
    expect(await refusal(reopen(0n))).toMatchObject({ reason: 'WRONG_STATE', metadata: { state: 'REDRIVING' } });
    const hand = desk.handIn(namespace);
    await hand.complete(await hand.claimNamed(executionId));
    // Redriven with success, and opened yet again: it was not what it seemed.
    await reopen(0n);
    const more = await desk.deadLetters.redriveDeadLetter({ namespace, deadLetterId });
    await hand.complete(await hand.claimNamed(more.executionId));
    expect(await get(namespace, deadLetterId)).toMatchObject({ state: CLOSED, redriveCount: 2 });
    const { attempts } = await desk.deadLetters.getDeadLetter({ namespace, deadLetterId });
    expect(new Set(attempts.map((attempt) => attempt.executionId)).size).toBe(3);
    await desk.caughtUp();
    const { entries } = await desk.admin.listLogEntries({
      namespace,
      filter: { kinds: [LogEntryKind.DEAD_LETTER_REOPENED] },
    });
    const told = { subject: deadLetterId, actor: 'ann', reason: 'not so' };
    expect(entries).toMatchObject([told, told]);
    const stranger = desk.deadLetters.reopenDeadLetter({ namespace: 'causes', deadLetterId });
    expect(await refusal(stranger)).toMatchObject({ reason: 'DEAD_LETTER_NOT_FOUND' });
  });

  it('blocks its ordering key no more', async () => {
    const ordered = { lane: 'in order', orderingKey: 'k' };
    const [head = '', next = ''] = await desk.hand.create(ordered, ordered);
    const ask = { lanes: [{ lane: 'in order' }] };
    await desk.hand.fail(await desk.hand.claimOne(ask), 2);
    const [letter] = (await desk.deadLetters.listDeadLetters({ filter: { executionId: head } })).deadLetters;
    const deadLetterId = letter?.deadLetterId ?? '';
    await resolve('', [deadLetterId]);
    const claim = await desk.hand.claimOne(ask);
    expect(claim.lease?.executionId).toBe(next);
    await desk.deadLetters.reopenDeadLetter({ deadLetterId });
    await desk.hand.complete(claim);
    const last = await desk.hand.createOne(ordered);
    await desk.hand.complete(await desk.hand.claimNamed(last));
    const { executionId } = await desk.deadLetters.redriveDeadLetter({ deadLetterId });
    await desk.hand.complete(await desk.hand.claimNamed(executionId));
  });
});

describe('PurgeDeadLetters', () => {
  it('deletes what is closed and selected, a bounded number at a time, and nothing else', async () => {
    const namespace = 'purged';
    const [a = [], b = []] = await causes(namespace, [6, 3]);
    const [open = '', ...closed] = a;
    await resolve(namespace, [...closed, ...b]);
    const filter = { types: ['type 0'], states: [OPEN] };
    const purge = (more: object = {}) =>
      later((closedBeforeTime) =>
        desk.deadLetters.purgeDeadLetters({ namespace, filter, closedBeforeTime, actor: 'ann', note: 'old', ...more }),
      );
    expect(await purge({ dryRun: true })).toMatchObject({ purgedCount: 5n, more: false });
    expect(await purge({ dryRun: true, maxCount: 2 })).toMatchObject({ purgedCount: 2n, more: true });
    expect(await purge({ maxCount: 2 })).toMatchObject({ purgedCount: 2n, more: true });
    // What an operator holds is passed over, and nobody waits for it.
    const held = await HeldRows.start(desk.database);
    const left = (
      await desk.deadLetters.listDeadLetters({ namespace, filter: { types: ['type 0'], states: [CLOSED] } })
    ).deadLetters;
    await held.hold('dead_letter', 'id', left[0]?.deadLetterId ?? '');
    expect(await purge()).toMatchObject({ purgedCount: 2n, more: false });
    await held.release();
    expect(await purge({ maxCount: 1 })).toMatchObject({ purgedCount: 1n, more: false });
    expect(await purge()).toMatchObject({ purgedCount: 0n, more: false });
    const kept = (await desk.deadLetters.listDeadLetters({ namespace })).deadLetters.map(
      (letter) => letter.deadLetterId,
    );
    expect(kept.sort()).toEqual([open, ...b].sort());
    const gone = { namespace, deadLetterId: closed[0] ?? '' };
    const { getDeadLetter, reopenDeadLetter, redriveDeadLetter } = desk.deadLetters;
    for (const call of [getDeadLetter, reopenDeadLetter, redriveDeadLetter]) {
      expect(await refusal(call(gone))).toMatchObject({ reason: 'DEAD_LETTER_NOT_FOUND' });
    }
    await desk.caughtUp();
    const { entries } = await desk.admin.listLogEntries({
      namespace,
      filter: { kinds: [LogEntryKind.ADMIN_DEAD_LETTERS_PURGED] },
    });
    expect(
      entries.map(({ actor, reason, body }) => [actor, reason, (body.value as { purged?: number }).purged]),
    ).toEqual([1, 2, 2].map((purged) => ['ann', 'old', purged]));
  });

  it('refuses what was closed just now', async () => {
    const wrong = [undefined, at(wallMs() - HOUR_MS + 60_000)];
    for (const closedBeforeTime of wrong) {
      const answer = await refusal(desk.deadLetters.purgeDeadLetters({ closedBeforeTime, maxCount: 10_001 }));
      expect(answer.fieldViolations.map(({ field }) => field)).toEqual(['closed_before_time', 'max_count']);
    }
    const [letter = ''] = only(await causes('just now', [1]));
    await resolve('just now', [letter]);
    const closedBeforeTime = at(wallMs() - HOUR_MS);
    const purge = { namespace: 'just now', closedBeforeTime };
    expect(await desk.deadLetters.purgeDeadLetters(purge)).toMatchObject({ purgedCount: 0n, more: false });
  });

  it('happens by itself when they have been kept long enough, in every namespace', async () => {
    for (const namespace of ['kept', 'kept too']) {
      const [letters = []] = await causes(namespace, [3]);
      await resolve(namespace, letters.slice(1));
    }
    const { database } = desk.core;
    const retire = async (keptMs: number) =>
      await lettersPart({ keptMs }).run(database, monotonicMs() + HOUR_MS, new AbortController().signal);
    await retire(HOUR_MS);
    const states = async (namespace: string) =>
      (await desk.deadLetters.listDeadLetters({ namespace })).deadLetters.map(({ state }) => state).sort();
    expect(await states('kept')).toEqual([OPEN, CLOSED, CLOSED]);
    // A namespace may keep its own for longer.
    await desk.admin.putNamespace({
      namespace: 'kept',
      settings: { retention: { closedDeadLetters: { seconds: 3_600n, nanos: 0 } } },
    });
    expect(await retire(0)).toMatchObject({ more: false });
    expect(await states('kept')).toEqual([OPEN, CLOSED, CLOSED]);
    await desk.admin.putNamespace({ namespace: 'kept', settings: {} });
    const { purgedLetters } = await lettersPart({ keptMs: 0 }).foresee(database);
    expect(purgedLetters).toBe(2);
    expect(await retire(0)).toMatchObject({ more: false, purgedLetters });
    for (const namespace of ['kept', 'kept too', 'figures']) expect(await states(namespace)).not.toContain(CLOSED);
    expect(await states('kept too')).toEqual([OPEN]);
  });
});
