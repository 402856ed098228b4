/**
 * P4: what a claim costs with few and with many waiting, with work in front that the claimer may not take, with many that
 * have finished, and with plans that were made when the tables were empty and have never seen statistics.
 */
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import type { Ground } from '../arena/arena.js';
import { startMeter } from '../arena/meter.js';
import { CLAIM_STATEMENT, pagesPerCall } from '../arena/spent.js';
import { TailraceEngine } from '../peers/tailrace-engine.js';
import { quantile } from '../statistics.js';
import type { Context, Measure } from './measure.js';

const CLAIM = 100;
/** Claims before any is timed, of which pages are counted. */
const WARM_UP = 50;
/** Statements per second of an engine that has caught up. */
const CALM_STATEMENTS = 5;
const LONGEST_CALM_SECONDS = 60;
/** What the claimer declares that it runs; the others are for one line each. */
const DECLARED = 'declared';
const RARE = 'rare';
const SKILLED = 'skilled';
const KEYED = 'keyed';
/** The short line that is always claimed in turns with the one measured. */
const BESIDE = 'beside';
const TYPES = [DECLARED, RARE, SKILLED, KEYED, BESIDE];
/** Waiting of what the claimer may take: behind everything it may not, and in the line beside. */
const SHORT = 1_000;
/** As many of one concurrency key as may run at once where nothing else is said: the rest of them waits for their end. */
const KEY_LIMIT = 16;

const figure = (count: number) => count.toLocaleString('en');

async function run(context: Context): Promise<void> {
  await onEngine(context, (engine, ground) => throughLines(engine, ground, context));
  await onEngine(context, (engine, ground) => behindFinished(engine, ground, context));
}

async function onEngine(
  { arena }: Context,
  body: (engine: TailraceEngine, ground: Ground) => Promise<void>,
): Promise<void> {
  const ground = await arena.fresh();
  // Or it might analyse in the middle; the engine's own upkeep runs as ever.
  await arena.set({ autovacuum: 'off' });
  const engine = await TailraceEngine.start(ground.url, TYPES);
  try {
    await engine.create({ type: BESIDE }, SHORT);
    await body(engine, ground);
  } finally {
    await engine.stop();
    await arena.set({ autovacuum: 'on' });
    await ground.drop();
  }
}

async function throughLines(engine: TailraceEngine, ground: Ground, context: Context): Promise<void> {
  const { scale, progress } = context;
  let waiting = 0;
  for (const target of scale.waiting) {
    progress(`filling up to ${figure(target)}`);
    await engine.create({ type: DECLARED }, target - waiting);
    waiting = target;
    await calmDown(context, ground);
    await measure(engine, ground, DECLARED, `${figure(target)} waiting, never analysed`, context);
  }
  await analyze(ground.url);
  await measure(engine, ground, DECLARED, `${figure(waiting)} waiting, analysed`, context);
  const behind = async (type: string, ahead: string) => {
    await engine.create({ type }, SHORT);
    await calmDown(context, ground);
    await measure(engine, ground, type, `${figure(SHORT)} waiting, ${ahead} ahead`, context);
  };
  await behind(RARE, `${figure(waiting)} of an undeclared type`);
  const ahead = figure(scale.ahead);
  progress(`${ahead} that ask for a capability`);
  await engine.create({ type: SKILLED, capabilities: ['rare'] }, scale.ahead);
  await behind(SKILLED, `${ahead} that ask for a capability`);
  progress(`${ahead} of one concurrency key`);
  await engine.create({ type: KEYED, concurrencyKey: 'full' }, scale.ahead);
  const running = await engine.claim(KEYED, 2 * KEY_LIMIT);
  if (running !== KEY_LIMIT) throw new Error(`${running} of one key run, not ${KEY_LIMIT}`);
  await behind(KEYED, `${ahead} of a key at its limit`);
}

async function behindFinished(engine: TailraceEngine, ground: Ground, context: Context): Promise<void> {
  const { scale, progress } = context;
  const [few = 0] = scale.waiting;
  for (let done = 0; done < scale.finished; done += scale.ahead) {
    progress(`${figure(done)} of ${figure(scale.finished)} have finished`);
    await engine.finish(DECLARED, Math.min(scale.ahead, scale.finished - done));
  }
  await engine.create({ type: DECLARED }, few);
  await calmDown(context, ground);
  await measure(engine, ground, DECLARED, `${figure(few)} waiting, ${figure(scale.finished)} finished before`, context);
}

/** Positions, counts and dirty pages of the rows just made are not the claims' to pay for: waits until they are done. */
async function calmDown({ arena, scale, progress }: Context, ground: Ground): Promise<void> {
  await arena.admin.query('checkpoint');
  for (let seconds = 0; seconds < LONGEST_CALM_SECONDS; seconds += scale.seconds.settle) {
    const meter = await startMeter(arena, ground);
    await pause(scale.seconds.settle * 1_000);
    const { statements, seconds: passed } = await meter.read();
    if (statements / passed < CALM_STATEMENTS) return;
  }
  progress('the engine is still busy with what was filled in');
}

/**
 * In turns with the short line beside it: a machine is half as fast again in one minute as in the next, and what is compared
 * has to share the minute.
 */
async function measure(
  engine: TailraceEngine,
  ground: Ground,
  type: string,
  name: string,
  context: Context,
): Promise<void> {
  const { arena, scale } = context;
  context.progress(name);
  await arena.forgetStatements();
  for (let i = 0; i < WARM_UP; i++) await claimOnce(engine, type);
  const pages = await pagesPerCall(arena, ground, CLAIM_STATEMENT);
  const took: number[] = [];
  const beside: number[] = [];
  for (let i = 0; i < scale.claims; i++) {
    took.push(await claimOnce(engine, type));
    beside.push(await claimOnce(engine, BESIDE));
  }
  const [p50, p99] = [quantile(took, 0.5), quantile(took, 0.99)];
  context.record(name, {
    p50,
    times50: p50 / quantile(beside, 0.5),
    p99,
    times99: p99 / quantile(beside, 0.99),
    pages,
  });
}

/** Milliseconds. Puts back what it takes, so that the line keeps its length. */
async function claimOnce(engine: TailraceEngine, type: string): Promise<number> {
  const started = performance.now();
  const got = await engine.claim(type, CLAIM);
  const took = performance.now() - started;
  if (got !== CLAIM) throw new Error(`a claim of ${CLAIM} got ${got}`);
  await engine.create({ type }, CLAIM);
  return took;
}

async function analyze(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, statement_timeout: 0 });
  await client.connect();
  await client.query('analyze');
  await client.end();
}

export const p4: Measure = {
  id: 'P4',
  title: `a claim of ${CLAIM}, milliseconds`,
  about:
    'The claim as the API sends it, from an empty schema on: every connection had prepared it before the first row came, ' +
    'and autovacuum is off. Each line is claimed from in turns with another of 1,000 beside it, which it is held against. ' +
    'Pages are those of Postgres that a claim touches. What stands ahead was created before what is ' +
    'claimed, and may not be taken: for its type, a capability it asks for, or a concurrency key of which as many run as may.',
  columns: [
    { key: 'p50', title: 'p50 ms', digits: 2 },
    { key: 'times50', title: '× beside', digits: 2 },
    { key: 'p99', title: 'p99 ms', digits: 2 },
    { key: 'times99', title: '× beside', digits: 2 },
    { key: 'pages', title: 'pages each' },
  ],
  everyProfile: true,
  run,
};
