/** WATCHERS: what it costs that more and more subscribers want every end. */
import { DELIVERY_COLUMNS, deliveriesTo, subscribersName } from './delivery.js';
import type { Context, Measure, Sample } from './measure.js';

/** What is held against one subscriber alone. */
const GROWING = ['perSecondStatements', 'wal', 'statements', 'serverCpu', 'clientCpu', 'postgresCpu'];

async function run(context: Context): Promise<void> {
  const samples: { readonly subscribers: number; readonly sample: Sample }[] = [];
  for (const subscribers of context.scale.watchers) {
    const name = subscribersName(subscribers);
    context.progress(name);
    const sample = await deliveriesTo(subscribers, context);
    samples.push({ subscribers, sample });
    context.record(name, sample);
  }
  const [first, ...others] = samples;
  if (first === undefined) return;
  for (const { subscribers, sample } of others) {
    const more = (key: string) =>
      ((sample[key] ?? Number.NaN) - (first.sample[key] ?? Number.NaN)) / (subscribers - first.subscribers);
    const name = `each more, up to ${subscribers.toLocaleString('en')}`;
    context.record(name, Object.fromEntries(GROWING.map((key) => [key, more(key)])));
  }
}

export const watchers: Measure = {
  id: 'WATCHERS',
  title: 'subscribers of the completion stream',
  about:
    'As P9: all subscribers but the one that is timed only take what comes, in the process of the benchmark. What each costs more is by ' +
    'end and subscriber, over one subscriber alone. Cut off are those whose stream the server ended for not keeping up. A thousand of them are two million deliveries per second: where the ' +
    'machine does not do that, what is reached is less than what is offered.',
  columns: DELIVERY_COLUMNS.map((column) => (column.key.endsWith('Cpu') ? { ...column, digits: 1 } : column)),
  everyProfile: false,
  run,
};
