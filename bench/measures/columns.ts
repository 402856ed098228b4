/** Columns that several measures share. */
import type { Column } from './measure.js';

/** What perUnit() answers. */
export const COST_COLUMNS: readonly Column[] = [
  { key: 'wal', title: 'WAL B each' },
  { key: 'statements', title: 'statements each', digits: 3 },
  { key: 'serverCpu', title: 'server µs' },
  { key: 'clientCpu', title: 'client µs' },
  { key: 'postgresCpu', title: 'Postgres µs' },
];

/** Of how long something took, as it is read from all times together. */
export const LATENCY_COLUMNS: readonly Column[] = [
  { key: 'p50', title: 'p50 ms', digits: 1 },
  { key: 'p99', title: 'p99 ms', digits: 1 },
  { key: 'most', title: 'most ms', digits: 1 },
];

/** Of calls one after the other, and what the whole engine moves for each until it is quiet again. */
export const SINGLE_CALL_COLUMNS: readonly Column[] = [
  { key: 'p50', title: 'p50 ms', digits: 2 },
  { key: 'p99', title: 'p99 ms', digits: 2 },
  { key: 'statements', title: 'ms in Postgres each', digits: 2 },
  { key: 'pages', title: 'pages each' },
  { key: 'wal', title: 'WAL B each' },
];

/** Left in the database at the end. */
export const DEAD_ROWS: Column = { key: 'dead', title: 'dead rows left' };
