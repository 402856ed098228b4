/** P7: a fan-out of which one success is enough: how long the others go on after it. */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { EndReason } from '../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { Tally } from '../peers/contestant.js';
import { makeFan } from '../peers/fans.js';
import { FlowClients, nowMs } from '../peers/tailrace-flows.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const AT_ONCE = 4;
const PATIENCE_MS = 60_000;

interface Round {
  readonly name: string;
  readonly atOnce: number;
  /** Members that run when one of them succeeds. */
  readonly running: number;
}

async function run({ arena, scale, progress, record }: Context, inspect?: Inspect): Promise<void> {
  const { fanOut, fanOuts } = scale.joins;
  const half = fanOut / 2;
  const rounds: readonly Round[] = [
    { name: 'one after the other, the rest waits', atOnce: 1, running: 1 },
    { name: 'one after the other, half of the rest runs', atOnce: 1, running: half },
    { name: `${AT_ONCE} at once, the rest waits`, atOnce: AT_ONCE, running: 1 },
  ];
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const fans = await Fans.open(server.url, fanOut);
  try {
    await fans.one(1);
    fans.forget();
    for (const { name, atOnce, running } of rounds) {
      progress(name);
      await arena.forgetStatements();
      for (let left = fanOuts; left > 0; left -= atOnce) {
        await Promise.all(Array.from({ length: Math.min(atOnce, left) }, () => fans.one(running)));
      }
      record(name, fans.sample());
      fans.forget();
      await inspect?.onMeasured(name, ground, fanOuts * fanOut);
    }
  } finally {
    await fans.close();
    await server.stop();
    await ground.drop();
  }
}

/** What the log said of one flow so far. */
class Fan {
  /** Joins that were satisfied: one per member, then the last one. */
  readonly satisfied = new Tally();
  readonly canceled = new Tally();
  readonly settled = new Tally();
  /** By the database's clock. */
  decidedMs = Number.NaN;
  lastEndMs = Number.NaN;
  /** When it was told here. */
  lastSeenMs = Number.NaN;
}

class Fans {
  readonly #clients: FlowClients;
  readonly #size: number;
  readonly #fans = new Map<string, Fan>();
  #releases: number[] = [];
  #ends: number[] = [];
  #seen: number[] = [];
  #decisions: number[] = [];

  private constructor(clients: FlowClients, size: number) {
    this.#clients = clients;
    this.#size = size;
  }

  static async open(url: string, size: number): Promise<Fans> {
    const fans = new Fans(new FlowClients(url), size);
    await fans.#watch();
    return fans;
  }

  /** From its making until it has settled. */
  async one(running: number): Promise<void> {
    const clients = this.#clients;
    const flowId = uuidV7();
    const fan = new Fan();
    this.#fans.set(flowId, fan);
    // Of its own, so that what is claimed is of this flow.
    const types = { root: `root-${flowId}`, member: `member-${flowId}`, sink: `sink-${flowId}` };
    await makeFan(clients, { flowId, size: this.#size, types, oneIsEnough: true });
    const roots = await clients.take(types.root, 1);
    const releasedMs = performance.now();
    await clients.complete(roots);
    await fan.satisfied.reach(this.#size, PATIENCE_MS);
    this.#releases.push(performance.now() - releasedMs);
    const held = await clients.take(types.member, running);
    const sentMs = nowMs();
    await clients.complete(held.slice(0, 1));
    await fan.satisfied.reach(this.#size + 1, PATIENCE_MS);
    await fan.canceled.reach(this.#size - 1, PATIENCE_MS);
    this.#decisions.push(fan.decidedMs - sentMs);
    this.#ends.push(fan.lastEndMs - fan.decidedMs);
    this.#seen.push(fan.lastSeenMs - fan.decidedMs);
    await clients.complete(await clients.take(types.sink, 1));
    await fan.settled.reach(1, PATIENCE_MS);
    this.#fans.delete(flowId);
  }

  sample(): Sample {
    return {
      p50: quantile(this.#seen, 0.5),
      p99: quantile(this.#seen, 0.99),
      endP99: quantile(this.#ends, 0.99),
      decideP50: quantile(this.#decisions, 0.5),
      releaseP50: quantile(this.#releases, 0.5),
      releaseP99: quantile(this.#releases, 0.99),
    };
  }

  forget(): void {
    this.#releases = [];
    this.#decisions = [];
    this.#ends = [];
    this.#seen = [];
  }

  close(): Promise<void> {
    return this.#clients.close();
  }

  async #watch(): Promise<void> {
    await this.#clients.watchLog([LogEntryKind.JOIN_SATISFIED, LogEntryKind.FLOW_SETTLED], (entries) => {
      for (const { kind, flowId, createTime } of entries) {
        const fan = this.#fans.get(flowId);
        if (kind === LogEntryKind.FLOW_SETTLED) fan?.settled.add(1);
        else if (fan) {
          if (createTime) fan.decidedMs = timestampMs(createTime);
          fan.satisfied.add(1);
        }
      }
    });
    await this.#clients.watchEnds((entries) => {
      const seenMs = nowMs();
      for (const { flowId, outcome } of entries) {
        const fan = this.#fans.get(flowId);
        if (fan === undefined || outcome?.reason !== EndReason.JOIN_SATISFIED || !outcome.endTime) continue;
        fan.lastSeenMs = seenMs;
        fan.lastEndMs = timestampMs(outcome.endTime);
        fan.canceled.add(1);
      }
    });
  }
}

export const p7: Measure = {
  id: 'P7',
  title: 'a fan-out of which one is enough, milliseconds until the rest is canceled',
  about:
    'Flows of one step that releases so many members (1,000, with --quick 200), of which one success releases the last step ' +
    'and cancels the others. Counted from the log entry of the satisfied join, whose time the database takes before it ' +
    'commits, to the last canceled member: until a completion stream has told it, and until its end by the database. ' +
    '"Decided" goes from the sending of the one completion to that entry. "Released" goes from the completion of the first step until the log has told of the last member that it is released.',
  columns: [
    { key: 'p50', title: 'told p50 ms', digits: 1 },
    { key: 'p99', title: 'told p99 ms', digits: 1 },
    { key: 'endP99', title: 'ended p99 ms', digits: 1 },
    { key: 'decideP50', title: 'decided p50 ms', digits: 1 },
    { key: 'releaseP50', title: 'released p50 ms', digits: 1 },
    { key: 'releaseP99', title: 'released p99 ms', digits: 1 },
  ],
  everyProfile: true,
  run,
  costs: run,
};
