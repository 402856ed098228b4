/** FAIRNESS: how long others wait when one concurrency key has more to do than all of them together. */
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from '../../src/worker/index.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { type NewExecution, TailraceCalls } from '../peers/tailrace-calls.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import type { Context, Measure, Sample } from './measure.js';

const VICTIM = 'victim';
const FLOOD = 'flood';
const ANY = 'any';
/** Enough for the victims and for what the flooder may hold: what it holds beyond that would be theirs. */
const SLOTS = 64;
const HANDLER_MS = 100;
const OFFERED_PER_SECOND = 200;
/** Of the keys, for each of which there is a quantile of its own: they get half of the load. */
const WATCHED = 20;
const KNOWING_SLOTS = 2_000;
const PATIENCE_MS = 60_000;

const CALM = 'calm';
const FLOODED = 'flooded';

const WITHOUT = 'without the flooder';
export const BESIDE = 'with the flooder';

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  const { rounds, seconds, keys, backlog } = scale.fairness;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url);
  const calls = new TailraceCalls(server.url);
  try {
    progress(`${keys.toLocaleString('en')} keys, and a flooder with ${backlog.toLocaleString('en')}`);
    for (const lane of [CALM, FLOODED]) await makeKnown(calls, server.url, lane, keys);
    await calls.createMany({ type: FLOOD, lane: FLOODED, concurrencyKey: FLOOD }, backlog);
    for (let round = 1; round <= rounds; round++) {
      progress(`${WITHOUT}, ${round} of ${rounds}`);
      const calm = await waits(calls, server.url, CALM, keys, seconds);
      progress(`${BESIDE}, ${round} of ${rounds}`);
      const flooded = await waits(calls, server.url, FLOODED, keys, seconds);
      record(WITHOUT, calm);
      record(BESIDE, {
        ...flooded,
        share: (flooded['p99'] ?? Number.NaN) / (calm['p99'] ?? Number.NaN),
        worstShare: (flooded['worst'] ?? Number.NaN) / (calm['worst'] ?? Number.NaN),
      });
    }
  } finally {
    await calls.close().finally(() => server.stop());
    await ground.drop();
  }
}

/** Each has been used once. */
async function makeKnown(calls: TailraceCalls, url: string, lane: string, keys: number): Promise<void> {
  const done = new Tally();
  const worker = new Worker({ url, lanes: [lane], slots: KNOWING_SLOTS }).handle(ANY, () => done.add(1));
  await worker.start();
  const batch = 500;
  for (let first = 0; first < keys; first += batch) {
    const specOf = (_: unknown, i: number) => ({ type: ANY, lane, concurrencyKey: keyOf(first + i) });
    await calls.create(Array.from({ length: Math.min(batch, keys - first) }, specOf));
  }
  await done.reach(keys, PATIENCE_MS);
  await worker.stop();
}

/** Who works on a lane for this long, and how long the victims there wait. */
async function waits(calls: TailraceCalls, url: string, lane: string, keys: number, seconds: number): Promise<Sample> {
  const due = new Map<string, { readonly dueMs: number; readonly key: string }>();
  const took = new Map<string, number[]>();
  const started = new Tally();
  let floods = 0;
  const worker = new Worker({ url, lanes: [lane], slots: SLOTS, leaseDurationMs: 30_000 });
  worker.handle(VICTIM, async ({ tags }) => {
    const waiting = due.get(tags['ordinal'] ?? '');
    if (waiting !== undefined) {
      const { dueMs, key } = waiting;
      took.set(key, [...(took.get(key) ?? []), performance.now() - dueMs]);
      started.add(1);
    }
    await pause(HANDLER_MS);
  });
  worker.handle(FLOOD, async () => {
    floods++;
    await pause(HANDLER_MS);
  });
  await worker.start();
  try {
    // Until the flooder holds all that it may.
    await pause(HANDLER_MS * 2);
    floods = 0;
    const sent: Promise<void>[] = [];
    await offer(OFFERED_PER_SECOND, seconds, (ordinal, dueMs) => {
      const key = keyOf(ordinal % 2 === 0 ? (ordinal / 2) % WATCHED : WATCHED + ((ordinal * 7_919) % (keys - WATCHED)));
      due.set(`${ordinal}`, { dueMs, key });
      const spec: NewExecution = { type: VICTIM, lane, concurrencyKey: key, tags: { ordinal: `${ordinal}` } };
      sent.push(calls.create([spec]));
    });
    const flooded = floods / seconds;
    await Promise.all([...sent, started.reach(due.size, PATIENCE_MS)]);
    const all = [...took.values()].flat();
    const watched = Array.from({ length: WATCHED }, (_, i) => quantile(took.get(keyOf(i)) ?? [], 0.99));
    return {
      p50: quantile(all, 0.5),
      p99: quantile(all, 0.99),
      worst: Math.max(...watched),
      ...(floods > 0 && { floods: flooded }),
    };
  } finally {
    await worker.stop();
  }
}

const keyOf = (number: number) => `key-${number}`;

export const fairness: Measure = {
  id: 'FAIRNESS',
  title: 'waiting beside a flooder, milliseconds until the handler starts',
  about:
    `${OFFERED_PER_SECOND} executions per second over 10,000 concurrency keys, handlers of ${HANDLER_MS} ms on ${SLOTS} slots: a ` +
    'third of what these can do. Beside them one key with a backlog of 20,000 of its own, which would keep every slot busy ' +
    `for half a minute. ${WATCHED} keys get half of the load, so that each has a p99 of its own: the worst of these is told. ` +
    'With and without take turns on one server; shares are of the round they belong to.',
  columns: [
    { key: 'p50', title: 'p50 ms', digits: 1 },
    { key: 'p99', title: 'p99 ms', digits: 1 },
    { key: 'share', title: 'p99 × without', digits: 2 },
    { key: 'worst', title: "worst key's p99 ms", digits: 1 },
    { key: 'worstShare', title: '× without', digits: 2 },
    { key: 'floods', title: "flooder's starts per second" },
  ],
  everyProfile: false,
  run,
};
