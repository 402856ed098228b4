/** LAG: how far a consumer is behind while the load of P1 runs at full speed, and what it takes from that. */
import { setTimeout as pause } from 'node:timers/promises';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import type { Running } from '../peers/contestant.js';
import { type Follower, TailraceConsumers } from '../peers/tailrace-consumers.js';
import { tailraceRaw } from '../peers/tailrace-raw.js';
import { quantile } from '../statistics.js';
import { DEAD_ROWS } from './columns.js';
import type { Context, Measure, Sample } from './measure.js';
import { THROUGHPUT_COLUMNS, throughputOf } from './throughput.js';

const ALONE = 'nobody consumes';
const FOLLOWER: Follower = {
  name: 'a consumer of every end',
  parts: 1,
  size: 5_000,
  kinds: [LogEntryKind.EXECUTION_SUCCEEDED],
};
const LOOK_MS = 250;

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  const count = scale.throughput.fast;
  // In turns, so that what else the machine does hits both alike.
  for (const consumed of [false, true, true, false]) {
    const name = consumed ? FOLLOWER.name : ALONE;
    progress(name);
    const lag = new Lag();
    const beside = (running: Running) => lag.begin(running);
    const sample = await throughputOf(tailraceRaw, arena, count, consumed ? { beside } : {});
    record(name, { ...sample, ...(consumed && lag.sample()) });
  }
}

/** What one consumer is behind, told by itself in milliseconds and by the server in entries. */
class Lag {
  readonly #ms: number[] = [];
  readonly #entries: number[] = [];

  /** Answers how to end it. */
  async begin({ servers = [] }: Running): Promise<() => Promise<void>> {
    const consumers = new TailraceConsumers(servers[0]?.url ?? '');
    await consumers.put(FOLLOWER);
    await consumers.tail(FOLLOWER, (ms) => this.#ms.push(...ms));
    const { signal } = consumers.loops;
    const look = async () => {
      while (!signal.aborted) {
        this.#entries.push(await consumers.behind(FOLLOWER));
        await pause(LOOK_MS, undefined, { signal });
      }
    };
    consumers.loops.follow(look());
    return () => consumers.close();
  }

  sample(): Sample {
    return {
      p50: quantile(this.#ms, 0.5),
      p99: quantile(this.#ms, 0.99),
      entries: quantile(this.#entries, 0.5),
      most: quantile(this.#entries, 1),
    };
  }
}

export const lag: Measure = {
  id: 'LAG',
  title: 'a consumer beside the load of P1',
  about:
    'The load of P1 by the generated clients at full speed, in turns without a consumer and with one of one part that fetches the ends, at most ' +
    '5,000 at once, and commits them. Milliseconds are from when an entry was recorded until it has been handled; entries behind are what ' +
    'the server tells four times a second.',
  columns: [
    ...THROUGHPUT_COLUMNS.slice(0, 1),
    { key: 'p50', title: 'lag p50 ms' },
    { key: 'p99', title: 'lag p99 ms' },
    { key: 'entries', title: 'entries behind, p50' },
    { key: 'most', title: 'most' },
    ...THROUGHPUT_COLUMNS.slice(1).filter(({ key }) => key !== DEAD_ROWS.key),
  ],
  ratio: { column: 'perSecond', title: '× without' },
  everyProfile: false,
  run,
};
