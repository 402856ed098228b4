/**
 * A backup that is restored beside the database that went on: it resumes without a gap in positions, and whoever had seen
 * what it does not have is told.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LogEntry, LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { refusal, seconds } from '../support/by-hand.js';
import { line } from '../support/cli/line.js';
import { ConsumersByHand } from '../support/consumers-by-hand.js';
import { copyOf, freshDatabase, type TestDatabase } from '../support/postgres.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const CREATED = { kinds: [LogEntryKind.EXECUTION_CREATED] };

let original: TestDatabase;
let backup: TestDatabase;
beforeAll(async () => {
  original = await freshDatabase();
});
afterAll(async () => {
  await Promise.all([original.drop(), backup?.drop()]);
});

async function using<T>(database: TestDatabase, body: (tailrace: TestTailrace, hand: ConsumersByHand) => Promise<T>) {
  const tailrace = await startTailrace({ database });
  try {
    return await body(tailrace, new ConsumersByHand(tailrace));
  } finally {
    await tailrace.stop();
  }
}

const renew = ({ url, schema }: TestDatabase) =>
  line(['restored'], { environment: { DATABASE_URL: url, TAILRACE_SCHEMA: schema } });

/** Entries of creations behind the cursor; all of them without one. */
async function read({ completion }: TestTailrace, n: number, cursor = ''): Promise<LogEntry[]> {
  const from = cursor === '' ? { start: StartPosition.EARLIEST } : { cursor };
  const found: LogEntry[] = [];
  for await (const { entries } of completion.watchLog({ filter: CREATED, ...from }, { timeoutMs: 20_000 })) {
    found.push(...entries);
    if (found.length >= n) break;
  }
  return found;
}

test('a restored log goes on where the backup ends, and tells readers of what is lost from those of what is not', async () => {
  const before = await using(original, async (tailrace, hand) => {
    for (let n = 0; n < 5; n++) await hand.createOne({ type: `before ${n}` });
    const held = await hand.claimOne({ leaseDuration: seconds(600) });
    const entries = await read(tailrace, 5);
    await hand.consumer('reader', { filter: CREATED });
    const owner = await hand.owner('reader');
    await owner.commit(await owner.fetch({ maxEntries: 3, wait: seconds(5) }));
    await owner.member.release();
    return { held, entries };
  });
  backup = await copyOf(original);

  const lost = await using(original, async (tailrace, hand) => {
    for (let n = 0; n < 5; n++) await hand.createOne({ type: `lost ${n}` });
    return await read(tailrace, 10);
  });

  expect(await renew(backup)).toMatchObject({ code: 0, out: expect.stringContaining('cursors from before are good') });
  await using(backup, async (tailrace, hand) => {
    await hand.complete(before.held);
    for (let n = 0; n < 7; n++) await hand.createOne({ type: `after ${n}` });

    const seen = before.entries[2]?.cursor ?? '';
    const resumed = await read(tailrace, 9, seen);
    expect(resumed.map(({ type }) => type)).toEqual([
      ...['before 3', 'before 4'],
      ...Array.from({ length: 7 }, (_, n) => `after ${n}`),
    ]);
    const consumed = await (await hand.owner('reader')).drain();
    expect(consumed.map(({ type }) => type)).toEqual(resumed.map(({ type }) => type));

    const tooFar = lost.at(-1)?.cursor ?? '';
    expect(await refusal(read(tailrace, 1, tooFar))).toMatchObject({ reason: 'BAD_CURSOR' });
    const rules = await verify(tailrace.running.engine.database);
    expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
  });
});

test('the log keeps its incarnation while servers run on it', async () => {
  await using(original, async () => {
    expect(await renew(original)).toMatchObject({ code: 1, error: expect.stringContaining('stop them first') });
  });
});
