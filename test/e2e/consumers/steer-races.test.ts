/** Operators and owners at once, on one consumer: every answer is one that the call may have, and all rules hold after it. */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { PoisonPolicy, SplitKey } from '../../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { verify } from '../../../src/repository/verification/index.js';
import { monotonicMs, pause } from '../../../src/runtime/clock.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { Chance } from '../../support/chance.js';
import { ConsumersByHand, type Owner, payloadsOf } from '../../support/consumers-by-hand.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const NAME = 'contended';
const STREAMS = 8;
const EVENTS = 200;
const RACING_MS = 3_000;

/** What may come of a call while others do what they want. */
const EXPECTED = new Set([
  'EPOCH_CONFLICT',
  'VERSION_CONFLICT',
  'CONSUMER_PAUSED',
  'CONSUMER_HALTED',
  'CONSUMER_HELD',
  'GENERATION_NOT_FOUND',
  'GENERATION_NOT_CAUGHT_UP',
  'DEAD_LETTER_NOT_FOUND',
  'WRONG_STATE',
  // Generations and letters changed under a call again and again: it is to be repeated.
  'CONTENTION',
]);

let tailrace: TestTailrace;
let hand: ConsumersByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  hand = new ConsumersByHand(tailrace);
});
afterAll(() => tailrace.stop());

const broken = async () =>
  (await verify(tailrace.running.engine.database)).filter(({ violations }) => violations.length > 0);

it('moves, rebuilds, swaps, pauses, redrives and resolves beside members that fetch, fail and commit', async () => {
  const asked = { filter: { eventTypes: ['counted'] }, splitKey: SplitKey.STREAM, partCount: 3, maxTries: 2 };
  const policy = { poisonPolicy: PoisonPolicy.PARK, maxParked: 500, initialBackoff: seconds(0.02) };
  await hand.consumer(NAME, { ...asked, ...policy });
  const events = Array.from({ length: EVENTS }, (_, i) => i);
  await hand.publish(...events.map((i) => ({ type: 'counted', stream: `s${i % STREAMS}`, payload: text(String(i)) })));
  const chance = new Chance(6);
  const until = monotonicMs() + RACING_MS;
  const did = new Map<string, number>();
  const kinds = ['work', 'build', 'decide', 'steer'];
  const isDone = () => kinds.every((what) => did.has(`${what} done`));
  const racing = async (name: string, act: (chance: Chance) => Promise<unknown>) => {
    const own = chance.fork();
    while (monotonicMs() < until || !isDone()) {
      const came = await act(own).then(
        () => 'done',
        async (error: unknown) => (await refusal(Promise.reject(error))).reason,
      );
      did.set(`${name} ${came}`, (did.get(`${name} ${came}`) ?? 0) + 1);
      expect(came === 'done' || EXPECTED.has(came) ? '' : `${name}: ${came}`).toBe('');
    }
  };
  await Promise.all([
    ...[0, 1, 2].map(() => racing('work', (own) => work(own))),
    racing('build', (own) => work(own, true)),
    ...[0, 1].map(() => racing('decide', (own) => decide(own))),
    racing('steer', (own) => steer(own)),
    racing('steer too', (own) => steer(own)),
  ]);
  expect(await broken()).toEqual([]);
  expect(await deadlocks()).toBe(0);

  // After all that, it delivers everything once, in the order of each stream.
  await tailrace.admin.resumeConsumer({ consumer: NAME });
  await tailrace.admin.resetConsumer({ consumer: NAME, start: StartPosition.EARLIEST });
  const seen: number[] = [];
  for (const owner of await hand.member(NAME).acquire({ wait: seconds(5) })) {
    seen.push(...payloadsOf(await owner.drain()).map(Number));
  }
  expect(seen.toSorted((a, b) => a - b)).toEqual(events);
  for (let stream = 0; stream < STREAMS; stream++) {
    expect(seen.filter((i) => i % STREAMS === stream)).toEqual(events.filter((i) => i % STREAMS === stream));
  }
});

/** Undefined while none is. */
async function building(): Promise<bigint | undefined> {
  const { consumer } = await tailrace.admin.getConsumer({ consumer: NAME });
  return consumer?.generations.find(({ live }) => !live)?.generation;
}

/** One round of a member: it takes parts, handles or fails what they give, and now and then lets them go. */
async function work(chance: Chance, builds = false): Promise<void> {
  const generation = builds ? await building() : 0n;
  if (generation === undefined) return;
  const member = hand.member(NAME);
  try {
    const owners = await member.acquire({ generation, leaseDuration: seconds(1), maxParts: 2 });
    for (let round = 0; round < 4; round++) for (const owner of owners) await step(owner, chance);
  } finally {
    await member.release();
  }
}

async function step(owner: Owner, chance: Chance): Promise<void> {
  const answer = await owner.fetch({ maxEntries: 1 + chance.below(10) });
  const [first] = answer.deliveries;
  const failureClass = chance.percent(50) ? FailureClass.PERMANENT : FailureClass.TRANSIENT;
  if (first && chance.percent(40)) await owner.fail(first, { failure: { failureClass } });
  else await owner.commit(answer);
}

/** What a person does about letters. */
async function decide(chance: Chance): Promise<void> {
  await pause(chance.below(50));
  const { deadLetters } = await tailrace.deadLetters.listDeadLetters({
    filter: { states: [DeadLetterState.OPEN] },
    pageSize: 20,
  });
  const letter = chance.pick(deadLetters);
  if (letter === undefined) return;
  const { deadLetterId } = letter;
  if (chance.percent(50)) await tailrace.deadLetters.redriveDeadLetter({ deadLetterId });
  else {
    const resolution = DeadLetterResolution.IGNORED;
    await tailrace.deadLetters.resolveDeadLetters({ deadLetters: [{ deadLetterId }], resolution });
  }
}

async function steer(chance: Chance): Promise<void> {
  // People are slower than members.
  await pause(chance.below(300));
  const { admin } = tailrace;
  const consumer = NAME;
  const now = (await admin.getConsumer({ consumer })).consumer;
  const generation = await building();
  await chance.weighted<() => Promise<unknown>>([
    [2, () => admin.resetConsumer({ consumer, start: StartPosition.EARLIEST })],
    [2, () => admin.resetConsumer({ consumer, cursor: chance.pick(now?.parts ?? [])?.cursor ?? '' })],
    [1, () => admin.resetConsumer({ consumer, start: StartPosition.LATEST })],
    [
      1,
      async () => {
        await admin.pauseConsumer({ consumer });
        await admin.resumeConsumer({ consumer });
      },
    ],
    [
      2,
      () =>
        admin.rebuildConsumer({ consumer, start: chance.percent(50) ? StartPosition.LATEST : StartPosition.EARLIEST }),
    ],
    [3, () => admin.promoteConsumer({ consumer, generation: generation ?? 1n })],
  ])?.();
}

async function deadlocks(): Promise<number> {
  const client = new pg.Client({ connectionString: tailrace.database.url });
  await client.connect();
  try {
    const { rows } = await client.query(
      'select deadlocks::int from pg_stat_database where datname = current_database()',
    );
    return rows[0]?.deadlocks;
  } finally {
    await client.end();
  }
}
