/** P6: chains of ten members, each waiting for the one before: how many flows end per second, and what a hop takes. */
import { setTimeout as pause } from 'node:timers/promises';
import { perUnit, startMeter } from '../arena/meter.js';
import { offer } from '../offered.js';
import { chainSql } from '../peers/chain-sql.js';
import { type ChainContestant, type Chains, claimedAnew, handedOn, LENGTH, library } from '../peers/chains.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const CONTESTANTS: readonly ChainContestant[] = [handedOn, claimedAnew, library, chainSql];

const OFFERED_PER_SECOND = 100;
const WARM_UP_SHARE = 0.2;
/** Longer than all that waits would take, unless something stands still. */
const PATIENCE_MS = 60_000;

async function run(context: Context): Promise<void> {
  for (const contestant of CONTESTANTS) {
    context.progress(contestant.name);
    context.record(contestant.name, await measure(contestant, context));
  }
}

/** Both loads on one server; the first, which goes to the limit, is the one whose cost is counted. */
async function measure(contestant: ChainContestant, { arena, scale }: Context, inspect?: Inspect): Promise<Sample> {
  const ground = await arena.fresh();
  const atOnce = scale.chains;
  const hops: number[] = [];
  const onHop = (ms: number) => void hops.push(ms);
  try {
    const chains = await contestant.start({ ground, onHop, profileInto: inspect?.profileInto });
    try {
      await runAtOnce(chains, atOnce, scale.seconds.chains * WARM_UP_SHARE);
      hops.length = 0;
      await arena.forgetStatements();
      const meter = await startMeter(arena, ground, chains.serverPid);
      const flows = await runAtOnce(chains, atOnce, scale.seconds.chains);
      const cost = await meter.read();
      const busy = hops.splice(0);
      await inspect?.onMeasured(contestant.name, ground, flows * LENGTH);
      await runOffered(chains, scale.seconds.chains);
      return {
        perSecond: flows / cost.seconds,
        p50: quantile(busy, 0.5),
        p99: quantile(busy, 0.99),
        steadyP50: quantile(hops, 0.5),
        steadyP99: quantile(hops, 0.99),
        ...perUnit(cost, flows * LENGTH),
      };
    } finally {
      await chains.stop();
    }
  } finally {
    await ground.drop();
  }
}

/** As soon as one has ended the next is made. Answers how many there were. */
async function runAtOnce(chains: Chains, atOnce: number, seconds: number): Promise<number> {
  const untilMs = performance.now() + seconds * 1_000;
  let count = 0;
  const caller = async () => {
    while (performance.now() < untilMs) {
      await chains.run();
      count++;
    }
  };
  await patiently(Promise.all(Array.from({ length: atOnce }, caller)), seconds);
  return count;
}

async function runOffered(chains: Chains, seconds: number): Promise<void> {
  const running: Promise<void>[] = [];
  await offer(OFFERED_PER_SECOND, seconds, () => running.push(chains.run()));
  await patiently(Promise.all(running), 0);
}

async function patiently(work: Promise<unknown>, seconds: number): Promise<void> {
  const given = new AbortController();
  const stalled = pause(seconds * 1_000 + PATIENCE_MS, undefined, { signal: given.signal }).then(() => {
    throw new Error('chains stand still');
  });
  await Promise.race([work, stalled]).finally(() => {
    given.abort();
    stalled.catch(() => undefined);
  });
}

export const p6: Measure = {
  id: 'P6',
  title: `chains of ${LENGTH}, flows per second`,
  about:
    `Flows of ${LENGTH} members with an edge from each to the next, which is handed 1 KiB of result; 100 flows at once (with --quick 20), ` +
    'each followed by another when it has settled. A hop goes from the sending of a completion to the start of the next ' +
    `handler. "Steady" are hops while ${OFFERED_PER_SECOND} flows are begun per second, whatever becomes of them. ` +
    'Costs are per member, at the full load.',
  columns: [
    { key: 'perSecond', title: 'flows per second' },
    { key: 'p50', title: 'hop p50 ms', digits: 1 },
    { key: 'p99', title: 'hop p99 ms', digits: 1 },
    { key: 'steadyP50', title: 'steady hop p50 ms', digits: 1 },
    { key: 'steadyP99', title: 'steady hop p99 ms', digits: 1 },
    ...COST_COLUMNS,
  ],
  everyProfile: true,
  run,
  costs: async (context, inspect) => void (await measure(handedOn, context, inspect)),
};
