/**
 * A crash point: a server is killed when the database has done the n-th statement that matters and nobody was told; another
 * one, started only then, is asked the same again and brings it to its end. Each has a database of its own, so that several can
 * be tried at once: most of the time a process starts, or waits.
 */
import { verify } from '../../src/repository/verification/index.js';
import { CrashProxy } from './crash-proxy.js';
import { eventually } from './eventually.js';
import { freshDatabase, type TestDatabase } from './postgres.js';
import { ServerProcess } from './server-process.js';
import { type Clients, clientsOf, startTailrace } from './tailrace.js';
import type { WaitsByHand } from './waits-by-hand.js';

export interface Prepared<Hand = WaitsByHand> {
  /** What is asked; safe to repeat, so it is, whether it was committed or not. */
  readonly act: (hand: Hand) => Promise<unknown>;
  /** By the other server alone. */
  readonly finished: (hand: Hand) => Promise<unknown>;
}

export interface Operation<Hand = WaitsByHand> {
  /** Names of the statements that matter. */
  readonly matters: RegExp;
  /** After which of them, counted from the act, the server dies. */
  readonly points: readonly number[];
  readonly prepare: (hand: Hand) => Promise<Prepared<Hand>>;
}

export async function crashAt<Hand = WaitsByHand>(
  point: number,
  operation: Operation<Hand>,
  handOf: (clients: Clients) => Hand,
): Promise<void> {
  const database = await freshDatabase();
  await crashIn(database, point, operation, handOf);
  await database.drop();
}

async function crashIn<Hand>(
  database: TestDatabase,
  point: number,
  { matters, prepare }: Operation<Hand>,
  handOf: (clients: Clients) => Hand,
): Promise<void> {
  const { proxy, url } = await CrashProxy.before(database.url);
  const doomed = await ServerProcess.start({ ...database, url });
  const hand = handOf(clientsOf(doomed.url));
  const { act, finished } = await prepare(hand);
  let left = point;
  proxy.crashAfter(
    (statement) => matters.test(statement) && --left === 0,
    () => doomed.strike(),
  );
  // Nobody is told, or too early to matter: what the database has is what counts.
  await act(hand).catch(() => undefined);
  try {
    await eventually(() => proxy.crashed, 30_000);
  } finally {
    await doomed.kill();
    await proxy.close();
  }

  const survivor = await startTailrace({ database });
  try {
    const there = handOf(survivor);
    await act(there);
    await finished(there);
    const rules = await verify(survivor.running.engine.database);
    const broken = rules.filter(({ violations }) => violations.length > 0);
    if (broken.length > 0) throw new Error(broken.map(({ name, violations }) => `${name}: ${violations}`).join('\n'));
  } finally {
    await survivor.stop();
  }
}
