/**
 * What appends and reads of frames cost: the same for the first frame of a stream as for the ten thousandth, by plans that
 * were made while the schema was empty and are kept.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Granted } from '../../src/repository/claims/index.js';
import {
  type Appending,
  appendFrames,
  findStream,
  type NewFrame,
  readFrames,
  readSummaries,
  sweepPassingFrames,
} from '../../src/repository/frames/index.js';
import { completeAndClaimWithFrames } from '../../src/repository/leases/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { addExecutions, endingOf, heldBy, NAMESPACE, takeLeases } from '../support/direct.js';
import { type Explained, ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const LIMITS = { frames: 1_000_000, summaryBytes: 65_536 };
const BOUNDS = { frames: 20, bytes: 1_000_000 };
const LENGTH = 10_000;
const TABLES = ['frame', 'frame_head', 'passing_frame', 'lease', 'attempt', 'execution', 'outcome', 'parked'];

let fresh: TestDatabase;
let session: ExplainedSession;
let line: { id: number; lane: number };
let held: Granted[];
const plans: Record<'empty' | 'short' | 'long', Map<string, Explained[]>> = {
  empty: new Map(),
  short: new Map(),
  long: new Map(),
};

const frame = (mode: number, text: string): NewFrame => ({
  mode,
  type: 't',
  payload: { type: 'x', body: Buffer.from(text) },
});
const durable = (count: number) => Array.from({ length: count }, (_, i) => frame(1, `frame ${i}`));
const each = (count: number) =>
  [frame(1, 'a'), frame(2, '{"a":1}'), frame(3, 'p')].flatMap((one) => Array<NewFrame>(count).fill(one));
const appending = (granted: Granted, frames: NewFrame[], expected: bigint | null = null): Appending => ({
  ...heldBy(granted),
  frames,
  expected,
});
const append = (...items: Appending[]) => appendFrames(session, items, LIMITS);

/** Every statement of frames once, on these streams. */
async function everything(streams: readonly Granted[]): Promise<Map<string, Explained[]>> {
  const explained = new Map<string, Explained[]>();
  const explain = async <T>(name: string, body: () => Promise<T>): Promise<T> => {
    let answer: T | undefined;
    explained.set(name, await session.explain(async () => (answer = await body())));
    return answer as T;
  };
  const [first] = streams as [Granted];
  const refs = streams.map(({ execution }) => ({ execution, attempt: 1 }));
  const start = { position: -1, durable: 0, version: 0, passing: 0 };
  // Patches are trimmed in batches: bring every stream to the same place between two of them.
  const answers = await explain('append', () => append(...streams.map((one) => appending(one, each(1)))));
  const count = BigInt('durable' in (answers[0] ?? {}) ? (answers[0] as { durable: number }).durable : 0);
  const repeat = await explain('repeat', () => append(appending(first, [frame(1, 'a')], count - 1n)));
  expect(repeat).toMatchObject([{ verdict: 'duplicate' }]);
  const pages = await readFrames(
    session,
    refs.map((ref) => ({ ...ref, modes: [1, 2, 3], place: start })),
    BOUNDS,
  );
  const ends = refs.map((ref, i) => ({ ...ref, modes: [1, 2, 3], place: pages[i]?.end ?? start }));
  await explain('read nothing new', () => readFrames(session, ends, BOUNDS));
  await append(...streams.map((one) => appending(one, each(1))));
  const news = await explain('read what is new', () => readFrames(session, ends, BOUNDS));
  expect(news.map((page) => page?.frames.length)).toEqual(streams.map(() => 3));
  await explain('find', () => findStream(session, NAMESPACE, first.execution, 0));
  await explain('summaries', () => readSummaries(session, refs));
  await explain('sweep', () => sweepPassingFrames(session));
  const [ending] = await takeLeases(session, 1, line);
  if (ending === undefined) throw new Error('nothing to end');
  const endings = [{ ...endingOf(ending), frames: each(1), taker: null }];
  const { answers: ended } = await explain('complete', () => completeAndClaimWithFrames(session, endings, LIMITS));
  expect(ended).toMatchObject([{ verdict: 'done' }]);
  return explained;
}

beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  const key = { namespace: NAMESPACE, lane: 'lane', type: 'mine', capabilities: [] };
  line = (await internClasses(session, [key]))[0] ?? line;
  await addExecutions(session, 120, line.id);
  held = await takeLeases(session, 100, line);
  plans.empty = await everything(held.slice(0, 50));
  plans.short = await everything(held.slice(0, 50));
  // Of others and of the same streams: ten thousand frames of each mode that is kept.
  for (let i = 0; i < LENGTH; i += 1_000) {
    await append(...held.slice(0, 1).map((one) => appending(one, durable(1_000))));
    await append(...held.slice(50).map((one) => appending(one, durable(200))));
    await append(
      appending(
        held[0] as Granted,
        Array.from({ length: 600 }, () => frame(2, '{"b":1}')),
      ),
    );
    await append(
      appending(
        held[0] as Granted,
        Array.from({ length: 600 }, () => frame(3, 'p')),
      ),
    );
  }
  plans.long = await everything(held.slice(0, 50));
}, 120_000);

afterAll(async () => {
  await session.close();
  await fresh.drop();
});

const pagesOf = (explained: readonly Explained[] = []) => explained.reduce((sum, { pages }) => sum + pages, 0);
const workOf = (explained: readonly Explained[] = []) => explained.reduce((sum, { work }) => sum + work, 0);

test.each(['append', 'repeat', 'read nothing new', 'read what is new', 'find', 'summaries', 'complete'])(
  '%s costs what it does, not what was before',
  (name) => {
    const [short, long] = [plans.short.get(name), plans.long.get(name)];
    expect(long?.length).toBe(short?.length);
    expect(workOf(long)).toBeLessThanOrEqual(workOf(short) * 1.1 + 10);
    // Indexes are a level or two deeper, and dead versions of a head stand beside it.
    expect(pagesOf(long)).toBeLessThanOrEqual(pagesOf(short) * 1.5 + 20);
  },
);

test('every table is reached by key', () => {
  for (const round of Object.values(plans)) {
    for (const [name, explained] of round) {
      const scans = explained.flatMap(({ scans }) => scans).filter(({ table }) => TABLES.includes(table));
      const wrong = scans.filter(({ kind }) => kind === 'Seq Scan');
      expect(wrong, name).toEqual([]);
    }
  }
});
