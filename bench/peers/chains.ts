/** What runs chains: flows of ten members of which each waits for the one before, worked on as fast as they come. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EdgeSpecSchema } from '../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import type { Ground } from '../arena/arena.js';
import { inputOf, NO_ORDINAL } from '../content.js';
import { FlowClients, type FlowRequest } from './tailrace-flows.js';
import { startTailraceServer } from './tailrace-server.js';

/** Members of one chain. */
export const LENGTH = 10;
const TYPE = 'chain';
const LOOPS = 4;
const MOST_CLAIMED = 100;
/** What is completed together is released and handed over together, and so on: larger batches would end up as a single one. */
const MOST_COMPLETED = 25;

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

/** `eager`: whoever completes a member takes what that released with the answer; else everything is claimed. */
async function start({ ground, onHop, profileInto }: ChainsOptions, eager: boolean): Promise<Chains> {
  const server = await startTailraceServer(ground.url, { profileInto });
  const clients = new FlowClients(server.url);
  const sentMs = new Map<string, number>();
  const settled = new Map<string, () => void>();
  const work = async (claims: readonly Claim[]) => {
    for (let held = claims; held.length > 0; ) {
      const startedMs = performance.now();
      for (const { flowId } of held) {
        const sent = sentMs.get(flowId);
        if (sent !== undefined) onHop(startedMs - sent);
        sentMs.set(flowId, startedMs);
      }
      if (eager) held = await clients.completeAndTake(held, RESULT);
      else return await clients.complete(held, RESULT);
    }
  };
  await clients.watchLog([LogEntryKind.FLOW_SETTLED], (entries) => {
    for (const { flowId } of entries) settled.get(flowId)?.();
  });
  // Claims again at once: what it holds is bounded by the chains that are under way.
  clients.claim(TYPE, LOOPS, MOST_CLAIMED, async (claims) => {
    for (let i = 0; i < claims.length; i += MOST_COMPLETED) clients.follow(work(claims.slice(i, i + MOST_COMPLETED)));
  });
  return {
    run: async () => {
      const flowId = uuidV7();
      const end = new Promise<void>((resolve) => settled.set(flowId, resolve));
      await clients.create(chainOf(flowId));
      await clients.unlessFailed(end);
      settled.delete(flowId);
      sentMs.delete(flowId);
    },
    serverPid: server.pid,
    stop: () => clients.close().finally(() => server.stop()),
  };
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
  name: 'Tailrace, taken with the completion',
  start: (options) => start(options, true),
};

export const claimedAnew: ChainContestant = {
  name: 'Tailrace, claimed anew',
  start: (options) => start(options, false),
};
