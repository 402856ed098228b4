/**
 * P4: what a claim costs with few and with many waiting, with others' work in front, and with plans that were made when
 * the tables were empty and have never seen statistics.
 */
import pg from 'pg';
import { TailraceEngine } from '../peers/tailrace-engine.js';
import { quantile } from '../statistics.js';
import type { Context, Measure } from './measure.js';

const CLAIM = 100;
const WARM_UP = 5;
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

/** Puts back what it takes, so that the line keeps its length. */
async function measure(engine: TailraceEngine, type: string, name: string, context: Context): Promise<void> {
  context.progress(name);
  const took: number[] = [];
  for (let i = 0; i < WARM_UP + context.scale.claims; i++) {
    const started = performance.now();
    const got = await engine.claim(type, CLAIM);
    if (i >= WARM_UP) took.push(performance.now() - started);
    if (got !== CLAIM) throw new Error(`a claim of ${CLAIM} got ${got}`);
    await engine.create(type, CLAIM);
  }
  context.record(name, { p50: quantile(took, 0.5), p99: quantile(took, 0.99) });
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
    'and autovacuum is off.',
  columns: [
    { key: 'p50', title: 'p50 ms', digits: 2 },
    { key: 'p99', title: 'p99 ms', digits: 2 },
  ],
  ratio: { column: 'p50', title: '× the first' },
  everyProfile: false,
  run,
};
