/** LIMITS: what limits that do not bind and concurrency keys cost the throughput of P1. */
import type { Arena, Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { CLAIM_STATEMENT, spentInStatements } from '../arena/spent.js';
import { inputOf, NO_ORDINAL } from '../content.js';
import { Tally } from '../peers/contestant.js';
import { TailraceCalls } from '../peers/tailrace-calls.js';
import { startTailraceServer, type TailraceServer } from '../peers/tailrace-server.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const TYPE = 'limited';
const KEYS = 10_000;
/** More than this machine could start or hold. */
const FAR_AWAY = 1_000_000;
/** As in P1. */
const BATCH = 500;
const CREATORS = 3;
const LOOPS = 4;
/** So that every key is known. */
const WARM_UP_SHARE = 1 / 2;
const PATIENCE_MS = 60_000;

/** A lane of its own, so that what one leaves in the tables is not another's to pay for. */
interface Variant {
  readonly name: string;
  readonly lane: string;
  readonly limited: boolean;
  readonly keyed: boolean;
}

const PLAIN: Variant = { name: 'neither limits nor keys', lane: 'plain', limited: false, keyed: false };

/** What it differs by is what a share can say. */
const AGAIN: Variant = { name: 'the same once more', lane: 'again', limited: false, keyed: false };

const VARIANTS: readonly Variant[] = [
  PLAIN,
  AGAIN,
  { name: "a lane's limits", lane: 'limited', limited: true, keyed: false },
  { name: 'concurrency keys', lane: 'keyed', limited: false, keyed: true },
  { name: 'limits and keys', lane: 'both', limited: true, keyed: true },
];

/** Those of which the cost is what is looked for. */
export const LIMITING = VARIANTS.filter(({ limited, keyed }) => limited !== keyed).map(({ name }) => name);

async function run({ arena, scale, record, progress }: Context, inspect?: Inspect): Promise<void> {
  const { rounds, executions } = scale.limits;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  try {
    await setLimits(server);
    for (const variant of VARIANTS)
      await throughputOf(variant, arena, ground, server, Math.ceil(executions * WARM_UP_SHARE));
    for (let round = 0; round < rounds; round++) {
      const samples = new Map<Variant, Sample>();
      // Each is the first once: what grows with the tables, or drifts with the machine, hits all alike.
      for (let i = 0; i < VARIANTS.length; i++) {
        const variant = VARIANTS[(i + round) % VARIANTS.length] ?? PLAIN;
        progress(`${variant.name}, ${round + 1} of ${rounds}`);
        samples.set(variant, await throughputOf(variant, arena, ground, server, executions));
        await inspect?.onMeasured(variant.name, ground, executions);
      }
      const shareOf = (variant: Variant, key: string) => {
        const rate = (one: Variant) => samples.get(one)?.[key] ?? Number.NaN;
        return rate(variant) / ((rate(PLAIN) + rate(AGAIN)) / 2);
      };
      for (const variant of VARIANTS) {
        const shares = { share: shareOf(variant, 'perSecond'), workedShare: shareOf(variant, 'worked') };
        record(variant.name, { ...samples.get(variant), ...shares });
      }
    }
  } finally {
    await server.stop();
    await ground.drop();
  }
}

async function setLimits({ url }: TailraceServer): Promise<void> {
  const calls = new TailraceCalls(url);
  const settings = { concurrencyLimit: FAR_AWAY, rateLimit: { limit: FAR_AWAY, window: { seconds: 1n } } };
  for (const { lane, limited } of VARIANTS) if (limited) await calls.admin.updateLane({ lane, settings });
  await calls.close();
}

/** First what waits is worked off, then as much is created and worked on at once, as in P1. */
async function throughputOf(
  { lane, keyed }: Variant,
  arena: Arena,
  ground: Ground,
  server: TailraceServer,
  count: number,
): Promise<Sample> {
  const calls = new TailraceCalls(server.url);
  const ended = new Tally();
  const input = { body: { case: 'text' as const, value: inputOf(NO_ORDINAL) } };
  const specOf = (ordinal: number) => ({
    type: TYPE,
    lane,
    input,
    ...(keyed && { concurrencyKey: `key-${ordinal % KEYS}` }),
  });
  const create = async () => {
    let left = count;
    const creator = async () => {
      while (left > 0) {
        const first = left;
        left -= Math.min(BATCH, left);
        await calls.create(Array.from({ length: first - left }, (_, i) => specOf(first - i)));
      }
    };
    await Promise.all(Array.from({ length: CREATORS }, creator));
  };
  try {
    await calls.watchEnds((entries) => ended.add(entries.length));
    await create();
    await arena.forgetStatements();
    const startedMs = performance.now();
    calls.claim({ type: TYPE, lane, size: BATCH }, LOOPS, (claims) => calls.complete(claims));
    await calls.loops.unlessFailed(ended.reach(count, PATIENCE_MS));
    const worked = (count * 1_000) / (performance.now() - startedMs);
    const claiming = await spentInStatements(arena, ground, CLAIM_STATEMENT);
    const meter = await startMeter(arena, ground, server.pid);
    await calls.loops.unlessFailed(Promise.all([ended.reach(2 * count, PATIENCE_MS), create()]));
    const cost = await meter.read();
    const claim = (claiming.ms * 1_000) / count;
    return { worked, claim, perSecond: count / cost.seconds, ...perUnit(cost, count) };
  } finally {
    await calls.close();
  }
}

export const limits: Measure = {
  id: 'LIMITS',
  title: 'what limits and keys cost, executions per second',
  about:
    'What waits already is claimed and completed in batches of 500, and then the load of P1 comes: without limits, twice; with ' +
    'limits on how many of a lane run at once and how many start per second, far above what the machine reaches; with a ' +
    `concurrency key on every execution, ${KEYS.toLocaleString('en')} of them and none ever full; with both. All take turns on ` +
    'one server, three times; shares are of the mean of the first two in the same round. Costs are those of the load of P1.',
  columns: [
    { key: 'worked', title: 'worked off per second' },
    { key: 'workedShare', title: '× without', digits: 2 },
    { key: 'claim', title: 'claim µs in Postgres', digits: 1 },
    { key: 'perSecond', title: 'P1 per second' },
    { key: 'share', title: '× without', digits: 2 },
    ...COST_COLUMNS,
  ],
  everyProfile: false,
  run,
  costs: run,
};
