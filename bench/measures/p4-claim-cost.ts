/**
 * P4: what a claim costs with few and with many waiting, with others' work in front, and with plans that were made when
 * the tables were empty and have never seen statistics.
 */
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import type { Arena, Ground } from '../arena/arena.js';
import { startMeter } from '../arena/meter.js';
import { TailraceEngine } from '../peers/tailrace-engine.js';
import { quantile } from '../statistics.js';
import type { Context, Measure } from './measure.js';

const CLAIM = 100;
const WARM_UP = 5;
/** Statements per second of an engine that has caught up. */
const CALM_STATEMENTS = 5;
const LONGEST_CALM_SECONDS = 60;
const DECLARED = 'declared';
const RARE = 'rare';
/** Waiting of the type that the claimer runs, behind everything it does not. */
const BEHIND = 1_000;

async function run(context: Context): Promise<void> {
  const { arena, scale, progress } = context;
  const ground = await arena.fresh();
  // Or it might analyse in the middle; the engine's own upkeep runs as ever.
  await arena.set({ autovacuum: 'off' });
  const engine = await TailraceEngine.start(ground.url, [DECLARED, RARE]);
  try {
    let waiting = 0;
    for (const target of scale.waiting) {
      progress(`filling up to ${target.toLocaleString('en')}`);
      await engine.create(DECLARED, target - waiting);
      waiting = target;
      await calmDown(context, ground);
      await measure(engine, DECLARED, `${target.toLocaleString('en')} waiting, never analysed`, context);
    }
    await analyze(ground.url);
    await measure(engine, DECLARED, `${waiting.toLocaleString('en')} waiting, analysed`, context);
    await engine.create(RARE, BEHIND);
    const name = `${BEHIND.toLocaleString('en')} waiting, ${waiting.toLocaleString('en')} of an undeclared type ahead`;
    await measure(engine, RARE, name, context);
  } finally {
    await engine.stop();
    await arena.set({ autovacuum: 'on' });
    await ground.drop();
  }
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

/** Puts back what it takes, so that the line keeps its length. */
async function measure(engine: TailraceEngine, type: string, name: string, context: Context): Promise<void> {
  const { arena, scale } = context;
  context.progress(name);
  await arena.forgetStatements();
  const took: number[] = [];
  for (let i = 0; i < WARM_UP + scale.claims; i++) {
    const started = performance.now();
    const got = await engine.claim(type, CLAIM);
    if (i >= WARM_UP) took.push(performance.now() - started);
    if (got !== CLAIM) throw new Error(`a claim of ${CLAIM} got ${got}`);
    await engine.create(type, CLAIM);
  }
  context.record(name, { p50: quantile(took, 0.5), p99: quantile(took, 0.99), pages: await pagesPerClaim(arena) });
}

/** What the times of a busy machine cannot show: the work itself. */
async function pagesPerClaim({ admin }: Arena): Promise<number> {
  const { rows } = await admin.query<{ pages: number }>(
    `select sum(shared_blks_hit + shared_blks_read)::float8 / sum(calls) as pages
     from pg_stat_statements where query like '%.claim($1%'`,
  );
  return rows[0]?.pages ?? Number.NaN;
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
    'and autovacuum is off. Pages are those of Postgres that a claim touches.',
  columns: [
    { key: 'p50', title: 'p50 ms', digits: 2 },
    { key: 'p99', title: 'p99 ms', digits: 2 },
    { key: 'pages', title: 'pages each' },
  ],
  ratio: { column: 'p50', title: '× the first' },
  everyProfile: false,
  run,
};
