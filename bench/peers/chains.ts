/** What runs chains: flows of ten members of which each waits for the one before, worked on as fast as they come. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EdgeSpecSchema } from '../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { text } from '../../src/client/index.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { Worker } from '../../src/worker/index.js';
import type { Ground } from '../arena/arena.js';
import { inputOf, NO_ORDINAL } from '../content.js';
import { FlowClients, type FlowRequest } from './tailrace-flows.js';
import { startTailraceServer } from './tailrace-server.js';

/** Members of one chain. */
export const LENGTH = 10;
const TYPE = 'chain';
/** Calls of a kind at once, as many as the worker library makes. */
const LOOPS = 2;
const MOST_AT_ONCE = 100;
/** No-op handlers: enough for all chains that are under way. */
const SLOTS = 200;

export interface ChainsOptions {
  readonly ground: Ground;
  /** From the sending of a completion to the start of the next member's handler. */
  readonly onHop: (ms: number) => void;
  /** Where a server process writes its CPU profile when it ends. */
  readonly profileInto?: string | undefined;
}

export interface Chains {
  /** One chain, from its making until its flow has ended. */
  run(): Promise<void>;
  /** Of its server process, where it has one. */
  readonly serverPid?: number;
  stop(): Promise<void>;
}

export interface ChainContestant {
  readonly name: string;
  start(options: ChainsOptions): Promise<Chains>;
}

/** What each member hands to the next. */
const RESULT = { body: { case: 'text' as const, value: inputOf(NO_ORDINAL) } };

/** Hops of many chains at once, of which each has one at a time. */
class Hops {
  readonly #sentMs = new Map<string, number>();
  readonly #onHop: (ms: number) => void;

  constructor(onHop: (ms: number) => void) {
    this.#onHop = onHop;
  }

  /** A handler has started, and is done at once. */
  step(flowId: string): void {
    const now = performance.now();
    const sent = this.#sentMs.get(flowId);
    if (sent !== undefined) this.#onHop(now - sent);
    this.#sentMs.set(flowId, now);
  }

  forget(flowId: string): void {
    this.#sentMs.delete(flowId);
  }
}

/** Makes chains, and waits until they have settled. */
class Makers {
  readonly #clients: FlowClients;
  readonly #hops: Hops;
  readonly #settled = new Map<string, () => void>();

  constructor(clients: FlowClients, hops: Hops) {
    this.#clients = clients;
    this.#hops = hops;
  }

  async watch(): Promise<void> {
    await this.#clients.watchLog([LogEntryKind.FLOW_SETTLED], (entries) => {
      for (const { flowId } of entries) this.#settled.get(flowId)?.();
    });
  }

  async run(): Promise<void> {
    const flowId = uuidV7();
    const end = new Promise<void>((resolve) => this.#settled.set(flowId, resolve));
    await this.#clients.create(chainOf(flowId));
    await this.#clients.unlessFailed(end);
    this.#settled.delete(flowId);
    this.#hops.forget(flowId);
  }
}

/** `eager`: whoever completes a member takes what that released with the answer; else everything is claimed. */
async function start({ ground, onHop, profileInto }: ChainsOptions, eager: boolean): Promise<Chains> {
  const server = await startTailraceServer(ground.url, { profileInto });
  const clients = new FlowClients(server.url);
  const hops = new Hops(onHop);
  const makers = new Makers(clients, hops);
  await makers.watch();
  // What is done while calls are under way gathers for the next one: batches grow with the load.
  const done: Claim[] = [];
  let calls = 0;
  const run = (claims: readonly Claim[]) => {
    for (const { flowId } of claims) hops.step(flowId);
    done.push(...claims);
    if (calls < LOOPS && done.length > 0) clients.follow(complete(done.splice(0, MOST_AT_ONCE)));
  };
  const complete = async (claims: readonly Claim[]) => {
    calls++;
    const next = eager ? await clients.completeAndTake(claims, RESULT) : await clients.complete(claims, RESULT);
    calls--;
    run(next ?? []);
  };
  // Claims again at once: what it holds is bounded by the chains that are under way.
  clients.claim(TYPE, LOOPS, MOST_AT_ONCE, async (claims) => run(claims));
  return {
    run: () => makers.run(),
    serverPid: server.pid,
    stop: () => clients.close().finally(() => server.stop()),
  };
}

/** As the worker library does it by itself: successors come with the completion, everything else is claimed. */
async function startLibrary({ ground, onHop, profileInto }: ChainsOptions): Promise<Chains> {
  const server = await startTailraceServer(ground.url, { profileInto });
  const clients = new FlowClients(server.url);
  const hops = new Hops(onHop);
  const makers = new Makers(clients, hops);
  await makers.watch();
  const worker = new Worker({ url: server.url, slots: SLOTS, leaseDurationMs: 30_000 });
  worker.handle(TYPE, ({ flowId }) => {
    hops.step(flowId);
    return text(RESULT.body.value);
  });
  await worker.start();
  const stop = async () => {
    await worker.stop();
    await clients.close();
  };
  return { run: () => makers.run(), serverPid: server.pid, stop: () => stop().finally(() => server.stop()) };
}

const ordinals = Array.from({ length: LENGTH }, (_, i) => i);

/** A waiting chain has no input but what is handed on. */
function chainOf(flowId: string): FlowRequest {
  return {
    flow: { flowId },
    members: ordinals.map((i) => ({
      localName: `${i}`,
      execution: { type: TYPE, ...(i === 0 && { input: RESULT }) },
    })),
    edges: ordinals.slice(1).map(
      (i): MessageInitShape<typeof EdgeSpecSchema> => ({
        upstream: { member: { case: 'localName', value: `${i - 1}` } },
        downstream: { member: { case: 'localName', value: `${i}` } },
      }),
    ),
  };
}

export const handedOn: ChainContestant = {
  name: 'Tailrace, generated clients, taken with the completion',
  start: (options) => start(options, true),
};

export const claimedAnew: ChainContestant = {
  name: 'Tailrace, generated clients, claimed anew',
  start: (options) => start(options, false),
};

export const library: ChainContestant = { name: 'Tailrace, worker library', start: startLibrary };
