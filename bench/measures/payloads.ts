/** PAYLOAD: what P1's load costs as inputs grow. */
import { rawTailrace } from '../peers/tailrace-raw.js';
import type { Context, Measure } from './measure.js';
import { THROUGHPUT_COLUMNS, throughputOf } from './throughput.js';

const KIB = 1_024;
const SIZES = [
  { name: 'no input', bytes: 0 },
  { name: '100 B', bytes: 100 },
  { name: '1 KiB', bytes: KIB },
  { name: '10 KiB', bytes: 10 * KIB },
  { name: '100 KiB', bytes: 100 * KIB },
];
const BATCH = 500;
/** As large as an answer with inputs is at most. */
const CALL_BYTES = 3 * 2 ** 20;

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  for (const { name, bytes } of SIZES) {
    progress(name);
    const count = bytes === 0 ? scale.throughput.fast : Math.min(scale.throughput.fast, scale.payloads / bytes);
    const batch = bytes === 0 ? BATCH : Math.min(BATCH, Math.floor(CALL_BYTES / bytes));
    const contestant = rawTailrace({ name, inputBytes: bytes });
    const sample = await throughputOf(contestant, arena, Math.floor(count), { batch });
    record(name, { ...sample, megabytes: ((sample['perSecond'] ?? Number.NaN) * bytes) / 2 ** 20 });
  }
}

export const payloads: Measure = {
  id: 'PAYLOAD',
  title: 'executions per second by the size of their input',
  about:
    'The load of P1 by the generated clients. Calls that create hold 500 executions, or as many as make 3 MiB; so do answers to claims. ' +
    'Half of every input is entropy.',
  columns: [
    ...THROUGHPUT_COLUMNS.slice(0, 1),
    { key: 'megabytes', title: 'MiB of input per second', digits: 1 },
    ...THROUGHPUT_COLUMNS.slice(1),
  ],
  ratio: { column: 'perSecond', title: '× the first' },
  everyProfile: false,
  run,
};
