/** CONSUMERS: how many entries of the log one member handles per second, fetched and committed in turn. */
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { type Follower, TailraceConsumers } from '../peers/tailrace-consumers.js';
import { eventOf } from '../peers/tailrace-events.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure } from './measure.js';

const PUBLISHED_AT_ONCE = 500;
const STREAMS = 1_000;

const executions = [LogEntryKind.EXECUTION_CREATED];
const events = [LogEntryKind.EVENT_PUBLISHED];

export const ONE_MEMBER = 'executions, 5,000 at once';
const FOLLOWERS: readonly Follower[] = [
  { name: ONE_MEMBER, parts: 1, size: 5_000, kinds: executions },
  { name: 'executions, 500 at once', parts: 1, size: 500, kinds: executions },
  { name: 'executions, 500 at once, 8 parts', parts: 8, size: 500, kinds: executions },
  { name: 'events of 1 KiB, 5,000 at once', parts: 1, size: 5_000, kinds: events },
  { name: 'events of 1 KiB, 500 at once', parts: 1, size: 500, kinds: events },
];

async function run({ arena, scale, record, progress }: Context, inspect?: Inspect): Promise<void> {
  const count = scale.consumers.entries;
  const ground = await arena.fresh();
  progress(`${count} entries of each kind`);
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const client = new TailraceConsumers(server.url);
  try {
    await client.createMany({ type: 'bench', tags: { tenant: 'one' } }, count);
    const flows = await client.openFlows(1);
    for (let i = 0; i < count; i += PUBLISHED_AT_ONCE) {
      const batch = Array.from({ length: PUBLISHED_AT_ONCE }, (_, n) => i + n).filter((n) => n < count);
      await client.publish(batch.map((n) => eventOf(n, { stream: `stream ${n % STREAMS}`, flowId: flows[0] ?? '' })));
    }
    for (const follower of FOLLOWERS) {
      progress(follower.name);
      await client.put(follower);
      await arena.forgetStatements();
      const meter = await startMeter(arena, ground, server.pid);
      await client.follow(follower, count);
      const cost = await meter.read();
      record(follower.name, { perSecond: count / cost.seconds, ...perUnit(cost, count) });
      await inspect?.onMeasured(follower.name, ground, count);
    }
  } finally {
    await client.close().finally(() => server.stop());
    await ground.drop();
  }
}

export const consumers: Measure = {
  id: 'CONSUMERS',
  title: 'entries of the log that one member of a consumer handles per second',
  about:
    'A log of creations, and of events of 1 KiB with their payloads, read from its beginning by a consumer of one kind: one fetch, ' +
    'a handler that does nothing, one commit, and again. With 8 parts, the member holds all of them and reads them side by side. ' +
    'Half of the log is of the other kind, and is passed over.',
  columns: [{ key: 'perSecond', title: 'entries per second' }, ...COST_COLUMNS],
  everyProfile: false,
  run,
  costs: run,
};
