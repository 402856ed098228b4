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
