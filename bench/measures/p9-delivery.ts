/** P9: from the commit of an end to its delivery on a completion stream, and what one more subscriber costs. */
import { DELIVERY_COLUMNS, deliveriesTo, subscribersName } from './delivery.js';
import type { Context, Measure, Sample } from './measure.js';

const SUBSCRIBERS = [1, 100] as const;

async function run(context: Context): Promise<void> {
  const samples: Sample[] = [];
  for (const subscribers of SUBSCRIBERS) {
    const name = subscribersName(subscribers);
    context.progress(name);
    const sample = await deliveriesTo(subscribers, context);
    samples.push(sample);
    context.record(name, sample);
  }
  const [one, many] = samples.map((sample) => sample['perSecondStatements'] ?? Number.NaN);
  const more = SUBSCRIBERS[1] - SUBSCRIBERS[0];
  context.record('each subscriber more', { perSecondStatements: ((many ?? Number.NaN) - (one ?? Number.NaN)) / more });
}

export const p9: Measure = {
  id: 'P9',
  title: 'end of an execution to its delivery, milliseconds',
  about:
    'Executions of 1 KiB created, claimed and completed at 2,000 per second (with --quick fewer). Counted from the end time, which the ' +
    'database takes before it writes and commits, to the last of the subscribers, the only one that decodes here: the ' +
    "others' decoding would be the work of other machines.",
  columns: DELIVERY_COLUMNS,
  everyProfile: true,
  run,
  costs: async (context, inspect) => {
    const [few] = SUBSCRIBERS;
    context.record(subscribersName(few), await deliveriesTo(few, context, inspect));
  },
};
