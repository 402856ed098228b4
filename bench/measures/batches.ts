/** BATCH: what P1's load gains from larger calls. */
import { MOST_CLAIMED, rawTailrace } from '../peers/tailrace-raw.js';
import type { Context, Measure } from './measure.js';
import { THROUGHPUT_COLUMNS, throughputOf } from './throughput.js';

const SIZES = [1, 10, 50, 100, 500, 1_000];

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  const { fast, slow } = scale.throughput;
  for (const batch of SIZES) {
    const name = `${batch.toLocaleString('en')} per call`;
    progress(name);
    const contestant = rawTailrace({ name, batch: Math.min(batch, MOST_CLAIMED) });
    record(name, await throughputOf(contestant, arena, Math.min(fast, batch * slow), { batch }));
  }
}

export const batches: Measure = {
  id: 'BATCH',
  title: 'executions per second by the size of calls',
  about:
    'The load of P1 by the generated clients, with calls that create, claim and complete so many executions: 3 callers create and ' +
    '4 loops work, whatever the size. A call may claim and complete 500 at most. Small calls get fewer executions in all, at least ' +
    'those that the slowest contestants of P1 get.',
  columns: THROUGHPUT_COLUMNS,
  ratio: { column: 'perSecond', title: '× the first' },
  everyProfile: false,
  run,
};
