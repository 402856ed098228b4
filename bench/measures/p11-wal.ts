/** P11: how much WAL an execution costs with everything kept that the log and the history tell of it. */
import { rawTailrace } from '../peers/tailrace-raw.js';
import { COST_COLUMNS } from './columns.js';
import type { Measure } from './measure.js';
import { throughputs } from './throughput.js';

export const WITH_INPUT = 'input of 1 KiB';
export const WITHOUT_INPUT = 'no input';

const CONTESTANTS = [rawTailrace({ name: WITH_INPUT }), rawTailrace({ name: WITHOUT_INPUT, inputBytes: 0 })];

export const p11: Measure = {
  id: 'P11',
  title: 'WAL of an execution, bytes',
  about:
    'The load of P1 by the generated clients: each execution is created, claimed and completed without a result in batches of 500, ' +
    'and its history and every entry of the log are kept.',
  columns: [...COST_COLUMNS, { key: 'perSecond', title: 'per second' }],
  everyProfile: true,
  run: (context) => throughputs(CONTESTANTS, context),
};
