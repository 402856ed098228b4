/** P6B: joins of more and more members, and the same members without one: what a join costs each of its members. */
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import type { Arena, Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { Tally } from '../peers/contestant.js';
import { makeFan } from '../peers/fans.js';
import { FlowClients } from '../peers/tailrace-flows.js';
import { startTailraceServer, type TailraceServer } from '../peers/tailrace-server.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const MEMBER = 'member';
const SINK = 'sink';
const LOOPS = 4;
const BATCH = 500;
const PATIENCE_MS = 60_000;

interface Round {
  readonly flows: number;
  readonly size: number;
  readonly joined: boolean;
}

/** As many members of every size, so that what a flow costs as such and what one call carries are spread alike. */
async function run({ arena, scale, progress, record }: Context, inspect?: Inspect): Promise<void> {
  const { sizes, members } = scale.joins;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  try {
    const most = sizes.at(-1) ?? 0;
    await measure(arena, ground, server, { flows: Math.ceil(members / 10 / most), size: most, joined: true });
    const rounds: readonly [string, Round][] = [
      [`${members.toLocaleString('en')} members, nothing waits`, { flows: 1, size: members, joined: false }],
      ...sizes.map((size): [string, Round] => [
        `joins of ${size.toLocaleString('en')}`,
        { flows: members / size, size, joined: true },
      ]),
    ];
    for (const [name, round] of rounds) {
      progress(name);
      record(name, await measure(arena, ground, server, round));
      await inspect?.onMeasured(name, ground, members);
    }
  } finally {
    await server.stop();
    await ground.drop();
  }
}

/** Everything is made before the work on it begins. */
async function measure(arena: Arena, ground: Ground, server: TailraceServer, round: Round): Promise<Sample> {
  const { flows, size, joined } = round;
  const clients = new FlowClients(server.url);
  const released = new Tally();
  const settled = new Tally();
  try {
    await clients.watchLog([LogEntryKind.FLOW_SETTLED], (entries) => settled.add(entries.length));
    const makingMs = performance.now();
    for (let i = 0; i < flows; i++) {
      await makeFan(clients, { flowId: uuidV7(), size, types: { member: MEMBER, ...(joined && { sink: SINK }) } });
    }
    const madeMs = performance.now();
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, server.pid);
    const startedMs = performance.now();
    clients.claim(MEMBER, LOOPS, BATCH, (claims) => clients.complete(claims));
    clients.claim(SINK, 1, BATCH, async (claims) => {
      released.add(claims.length);
      await clients.complete(claims);
    });
    await clients.unlessFailed((joined ? released : settled).reach(flows, PATIENCE_MS));
    const doneMs = performance.now();
    await clients.unlessFailed(settled.reach(flows, PATIENCE_MS));
    const members = flows * size;
    return {
      seconds: (doneMs - startedMs) / 1_000,
      each: ((doneMs - startedMs) / members) * 1_000,
      making: ((madeMs - makingMs) / members) * 1_000,
      ...perUnit(await meter.read(), members),
    };
  } finally {
    await clients.close();
  }
}

export const p6b: Measure = {
  id: 'P6B',
  title: 'wide joins, from the first claim to the start of what waits for all',
  about:
    'Flows of so many members and one that waits for all of them; as many members of every size. Everything is made first, ' +
    'then claimed and completed in batches of 500 by 4 loops. Costs are per member.',
  columns: [
    { key: 'seconds', title: 'seconds', digits: 2 },
    { key: 'each', title: 'µs per member' },
    { key: 'making', title: 'µs to make one' },
    ...COST_COLUMNS,
  ],
  ratio: { column: 'each', title: '× without a join' },
  everyProfile: false,
  run,
  costs: run,
};
