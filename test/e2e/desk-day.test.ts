/**
 * A day at the desk: operators redrive, resolve, reopen and purge at random, side by side, while work goes on giving up.
 * Nothing is lost (opened = open + redriving + closed + purged), and of those who saw the same version one wins.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { type DeadLetter, DeadLetterResolution, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { refusal } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { type Desk, startDesk } from '../support/desk.js';
import { giveUp } from '../support/given-up.js';

const { OPEN, REDRIVING, CLOSED } = DeadLetterState;
const { IGNORED, HANDLED_BY_SCRIPT, REDRIVEN_ELSEWHERE } = DeadLetterResolution;
const HOUR_MS = 3_600_000;
const OPERATORS = 4;
const SHIFTS = 4;
const STEPS = 10;
const SEED = Number(process.env['DESK_SEED'] ?? 7);

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterAll(() => desk.stop());

const get = async (deadLetterId: string): Promise<DeadLetter> => {
  const { deadLetter } = await desk.deadLetters.getDeadLetter({ deadLetterId });
  if (deadLetter === undefined) throw new Error('an answer without a letter');
  return deadLetter;
};

const resolve = async (deadLetterId: string, expectedVersion: bigint, resolution: DeadLetterResolution) => {
  const deadLetters = [{ deadLetterId, expectedVersion }];
  const { results } = await desk.deadLetters.resolveDeadLetters({ deadLetters, resolution });
  return results[0]?.result.case === 'ok';
};

/** Whether it was done; refused it may be only because somebody else was first. */
async function tried(call: Promise<unknown>): Promise<boolean> {
  return await call.then(
    () => true,
    async (error: unknown) => {
      const { reason } = await refusal(Promise.reject(error));
      expect(['VERSION_CONFLICT', 'WRONG_STATE', 'DEAD_LETTER_NOT_FOUND']).toContain(reason);
      return false;
    },
  );
}

it('proof 29: of operators who saw the same version one wins, and the others change nothing', async () => {
  const rivals = (letter: DeadLetter) => {
    const seen = { deadLetterId: letter.deadLetterId, expectedVersion: letter.version };
    const redrive = () => tried(desk.deadLetters.redriveDeadLetter(seen));
    const say = (resolution: DeadLetterResolution) => () =>
      resolve(seen.deadLetterId, seen.expectedVersion, resolution);
    const reopen = (actor: string) => () => tried(desk.deadLetters.reopenDeadLetter({ ...seen, actor }));
    return letter.state === CLOSED
      ? [reopen('ann'), reopen('bob'), reopen('cyd')]
      : [redrive, say(IGNORED), say(HANDLED_BY_SCRIPT), redrive];
  };
  for (const deadLetterId of await giveUp(desk, '', Array(4).fill({ spec: {}, message: 'broken' }))) {
    for (let round = 0; round < 3; round++) {
      const before = await get(deadLetterId);
      if (before.state === REDRIVING) break;
      const won = await Promise.all(rivals(before).map((call) => call()));
      expect(won.filter(Boolean)).toHaveLength(1);
      expect((await get(deadLetterId)).version).toBe(before.version + 1n);
    }
  }
  expect(await desk.broken()).toEqual([]);
});

it(`proof 8: a random day at the desk loses no letter (seed ${SEED})`, async () => {
  const chance = new Chance(SEED);
  const namespace = 'day';
  const hand = desk.handIn(namespace);
  let opened = 0;
  let purged = 0;

  async function step(operator: Chance): Promise<void> {
    const page = await desk.deadLetters.listDeadLetters({ namespace, pageSize: 20 });
    const letter = operator.pick(page.deadLetters);
    if (letter === undefined || operator.percent(15)) {
      const number = 1 + operator.below(3);
      const type = `type ${operator.below(3)}`;
      // A lane of their own, so that others' work is not taken for it.
      const spec = { type, lane: `lane ${operator.seed} ${opened}` };
      await giveUp(desk, namespace, Array(number).fill({ spec, message: `no ${type}` }));
      opened += number;
      return;
    }
    // Sometimes what was seen is out of date, sometimes the version does not matter.
    const seen = {
      namespace,
      deadLetterId: letter.deadLetterId,
      expectedVersion: operator.percent(70) ? letter.version : 0n,
    };
    if (letter.state === CLOSED) {
      await tried(desk.deadLetters.reopenDeadLetter({ ...seen, actor: 'ann' }));
    } else if (operator.percent(40)) {
      const resolution = operator.pick([IGNORED, HANDLED_BY_SCRIPT, REDRIVEN_ELSEWHERE]) ?? IGNORED;
      await desk.deadLetters.resolveDeadLetters({ namespace, deadLetters: [seen], resolution });
    } else {
      const redrive = desk.deadLetters.redriveDeadLetter(seen);
      if (await tried(redrive)) {
        const claim = await hand.claimNamed((await redrive).executionId);
        if (operator.percent(10)) return; // its worker is slow: REDRIVING at the end of the shift
        await (operator.percent(50) ? hand.complete(claim) : hand.fail(claim, FailureClass.PERMANENT));
      }
    }
  }

  for (let shift = 0; shift < SHIFTS; shift++) {
    const operators = Array.from({ length: OPERATORS }, () => chance.fork());
    await Promise.all(
      operators.map(async (operator) => {
        for (let i = 0; i < STEPS; i++) await step(operator);
      }),
    );
    // Nobody works at night, when what was closed is purged: two hours later by the server's clock.
    const now = wallMs() + 2 * HOUR_MS;
    const clock = vi.spyOn(Date, 'now').mockReturnValue(now);
    const closedBeforeTime = { seconds: BigInt(Math.floor((now - HOUR_MS) / 1_000)), nanos: 0 };
    const maxCount = 1 + chance.below(10);
    const swept = await desk.deadLetters
      .purgeDeadLetters({ namespace, closedBeforeTime, maxCount })
      .finally(() => clock.mockRestore());
    expect(Number(swept.purgedCount)).toBeLessThanOrEqual(maxCount);
    purged += Number(swept.purgedCount);

    const stats = await desk.deadLetters.getDeadLetterStats({ namespace });
    const standing = Number(stats.openCount + stats.redrivingCount + stats.closedCount);
    expect({ shift, letters: standing + purged }).toEqual({ shift, letters: opened });
    expect(await desk.broken()).toEqual([]);
  }
  expect(purged).toBeGreaterThan(0);

  // The log tells the same story: each letter from state to state, one step at a time.
  await desk.caughtUp();
  const kinds = [
    LogEntryKind.DEAD_LETTER_OPENED,
    LogEntryKind.DEAD_LETTER_REDRIVING,
    LogEntryKind.DEAD_LETTER_CLOSED,
    LogEntryKind.DEAD_LETTER_REOPENED,
  ];
  const states = new Map<string, DeadLetterState>();
  const wrong: string[] = [];
  const entries = [];
  for (let pageToken = '', more = true; more; more = pageToken !== '') {
    const page = await desk.admin.listLogEntries({ namespace, filter: { kinds }, pageSize: 1_000, pageToken });
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  }
  for (const { kind, subject } of entries.reverse()) {
    const [from, to] = MOVES[kind] ?? [];
    if (!from?.includes(states.get(subject))) wrong.push(`${LogEntryKind[kind]} of ${subject}`);
    if (to !== undefined) states.set(subject, to);
  }
  expect(wrong).toEqual([]);
  expect(states.size).toBe(opened);
});

const MOVES: Readonly<Record<number, readonly [readonly (DeadLetterState | undefined)[], DeadLetterState]>> = {
  [LogEntryKind.DEAD_LETTER_OPENED]: [[undefined], OPEN],
  [LogEntryKind.DEAD_LETTER_REDRIVING]: [[OPEN], REDRIVING],
  [LogEntryKind.DEAD_LETTER_CLOSED]: [[OPEN, REDRIVING], CLOSED],
  [LogEntryKind.DEAD_LETTER_REOPENED]: [[CLOSED, REDRIVING], OPEN],
};
