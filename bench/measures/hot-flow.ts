/** HOT-FLOW: what one ordering key gets through, event by event, as its line gets shorter. */
import { ClaimNextMode } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { spentInStatements } from '../arena/spent.js';
import { leaseOf } from '../peers/tailrace-calls.js';
import { eventOf, TailraceEvents } from '../peers/tailrace-events.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure } from './measure.js';

const TYPE = 'handler';
const BATCH = 500;
const WAIT = { seconds: 5n, nanos: 0 };
const LEASE = { seconds: 3_600n, nanos: 0 };

async function run({ arena, scale, record, progress }: Context, inspect?: Inspect): Promise<void> {
  const { events: count, step } = scale.hotFlow;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const events = new TailraceEvents(server.url);
  const line = new Line(events);
  try {
    await events.subscribe(TYPE, { orderingKey: { source: { case: 'flow', value: true } } });
    progress('publishing');
    const [flowId = ''] = await events.openFlows(1);
    for (let first = 0; first < count + step; first += BATCH) {
      const size = Math.min(BATCH, count + step - first);
      await events.publish(Array.from({ length: size }, (_, i) => eventOf(first + i, { flowId })));
    }
    await events.routed();
    // Until every connection of the server has planned what it sends.
    await line.workOff(step);
    for (let first = 0; first < count; first += step) {
      const name = `events ${(first + 1).toLocaleString('en')} to ${(first + step).toLocaleString('en')}`;
      progress(name);
      await arena.forgetStatements();
      const meter = await startMeter(arena, ground, server.pid);
      const took = await line.workOff(step);
      const cost = await meter.read();
      const { pages } = await spentInStatements(arena, ground);
      record(name, {
        ...{ perSecond: step / cost.seconds, p50: quantile(took, 0.5), p99: quantile(took, 0.99), pages: pages / step },
        ...perUnit(cost, step),
      });
      await inspect?.onMeasured(name, ground, step);
    }
  } finally {
    await events.close().finally(() => server.stop());
    await ground.drop();
  }
}

/** One worker, which asks for the next with each completion. */
class Line {
  readonly #events: TailraceEvents;
  readonly #ask = {
    worker: { name: 'bench', instanceId: 'bench' },
    lanes: [{ lane: TYPE, weight: 1 }],
    types: [TYPE],
    maxExecutions: 1,
    leaseDuration: LEASE,
  };
  #held: Claim | undefined;

  constructor(events: TailraceEvents) {
    this.#events = events;
  }

  /** Answers what each took, in milliseconds. */
  async workOff(count: number): Promise<number[]> {
    const { engine } = this.#events;
    const took: number[] = [];
    for (let i = 0; i < count; i++) {
      const beganMs = performance.now();
      const claim = this.#held ?? (await engine.claimExecutions({ ...this.#ask, wait: WAIT })).claims[0];
      if (claim === undefined) throw new Error(`the line stands still after ${i} of ${count}`);
      const { results, claims } = await engine.completeExecutions({
        completions: [{ lease: leaseOf(claim) }],
        claimNext: { mode: ClaimNextMode.ANY, ...this.#ask },
      });
      if (results[0]?.result.case !== 'ok') throw new Error('a completion was refused');
      this.#held = claims[0];
      took.push(performance.now() - beganMs);
    }
    return took;
  }
}

export const hotFlow: Measure = {
  id: 'HOT-FLOW',
  title: 'one flow whose events are handled in their order',
  about:
    'Events of 1 KiB in one flow, all published and routed before the first is handled, and one worker, which completes each and is ' +
    'handed the next with the answer. What an event costs must not depend on how many wait behind it.',
  columns: [
    { key: 'perSecond', title: 'per second' },
    { key: 'p50', title: 'p50 ms', digits: 1 },
    { key: 'p99', title: 'p99 ms', digits: 1 },
    { key: 'pages', title: 'pages each' },
    ...COST_COLUMNS,
  ],
  ratio: { column: 'perSecond', title: '× the first' },
  everyProfile: false,
  run,
  costs: run,
};
