/** P1: how many executions go from their creation to their seen end, per second. */
import type { Ground } from '../arena/arena.js';
import { batchSql } from '../peers/batch-sql.js';
import type { Contestant } from '../peers/contestant.js';
import { graphileBatched, graphileDefaults } from '../peers/graphile-worker.js';
import { bossBatched, bossOneByOne } from '../peers/pg-boss.js';
import { rowInserts } from '../peers/row-inserts.js';
import { tailraceLibrary } from '../peers/tailrace-library.js';
import { tailraceRaw } from '../peers/tailrace-raw.js';
import type { Measure } from './measure.js';
import { THROUGHPUT_COLUMNS, throughputOf, throughputs } from './throughput.js';

const CONTESTANTS: readonly Contestant[] = [
  tailraceRaw,
  tailraceLibrary,
  graphileDefaults,
  graphileBatched,
  bossOneByOne,
  bossBatched,
  batchSql,
  rowInserts,
];

export const p1: Measure = {
  id: 'P1',
  title: 'create → claim → complete → seen, executions per second',
  about:
    'Handlers that do nothing, 1 KiB of input, creation and work at the same time. Tailrace ends are counted where a ' +
    'completion stream delivers them; graphile-worker keeps no history; single-row inserts stop after creating. Dead rows are ' +
    'those that autovacuum had not yet removed when the last session ended.',
  columns: THROUGHPUT_COLUMNS,
  ratio: { column: 'perSecond', to: graphileDefaults.name, title: '× graphile-worker' },
  everyProfile: true,
  run: (context) => throughputs(CONTESTANTS, context),
  costs: async ({ arena, scale, record }, { profileInto, onMeasured }) => {
    const count = scale.throughput[tailraceRaw.pace];
    const inspect = { profileInto, onMeasured: (ground: Ground) => onMeasured(tailraceRaw.name, ground, count) };
    record(tailraceRaw.name, await throughputOf(tailraceRaw, arena, count, inspect));
  },
};
