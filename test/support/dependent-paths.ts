/** Paths that end an execution because of others: its joins, its flow, its parent, or while it waits for them. */
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowFailurePolicy } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { only, seconds } from './by-hand.js';
import type { FlowsByHand } from './flows-by-hand.js';
import { type Path, path, type Subject, soon, WHY } from './terminal-path.js';

const { FAILED, CANCELED, EXPIRED, SKIPPED } = ExecutionState;
const { TTL, DEADLINE, CANCEL_REQUESTED, FLOW_CANCELED, JOIN_SATISFIED, JOIN_IMPOSSIBLE, JOIN_EXPIRED, PARENT_ENDED } =
  EndReason;

/** Waits for another one that nobody begins. */
const blocked = async (hand: FlowsByHand, subject: Subject) =>
  (await hand.flow({ members: { other: {}, subject }, links: [['other', 'subject']] })).of('subject');

/** One of two, of which one is enough. */
const racing = async (hand: FlowsByHand, subject: Subject) =>
  await hand.flow({
    members: { other: {}, subject, last: {} },
    links: [
      ['other', 'last'],
      ['subject', 'last'],
    ],
    joins: { last: { mode: JoinMode.ANY, onSatisfied: OnSatisfied.CANCEL_REST } },
  });

/** Runs, and waits for a child that nobody begins. */
const spawning = async (hand: FlowsByHand, claim: Claim) =>
  await hand.waitForChildren(claim, [{ execution: { type: 'other', lane: `children of ${claim.executionId}` } }]);

export const DEPENDENT_PATHS: Readonly<Record<string, Path>> = {
  'skipped when its join became impossible': path(SKIPPED, JOIN_IMPOSSIBLE, 0, {
    among: async (hand, subject) => {
      const flow = await hand.flow({ members: { other: {}, subject }, links: [['other', 'subject']] });
      await flow.fail('other');
      return flow.of('subject');
    },
  }),
  'skipped because another one was skipped': path(SKIPPED, JOIN_IMPOSSIBLE, 0, {
    among: async (hand, subject) => {
      const links = [['other', 'between'] as const, ['between', 'subject'] as const];
      const flow = await hand.flow({ members: { other: {}, between: {}, subject }, links });
      await flow.fail('other');
      return flow.of('subject');
    },
  }),
  'join expired': path(FAILED, JOIN_EXPIRED, 0, {
    among: async (hand, subject) => {
      const joins = { subject: { timeout: seconds(1) } };
      return (await hand.flow({ members: { other: {}, subject }, links: [['other', 'subject']], joins })).of('subject');
    },
  }),
  'lost while it was due': path(CANCELED, JOIN_SATISFIED, 0, {
    among: async (hand, subject) => {
      const flow = await racing(hand, subject);
      await flow.complete('other');
      return flow.of('subject');
    },
  }),
  'lost while it was running': path(CANCELED, JOIN_SATISFIED, 1, {
    among: async (hand, subject) => {
      const flow = await racing(hand, subject);
      await hand.claimNamed(flow.of('subject'), { leaseDuration: seconds(60) });
      await flow.complete('other');
      return flow.of('subject');
    },
  }),
  'canceled with its flow': path(CANCELED, FLOW_CANCELED, 0, {
    among: async (hand, subject) => {
      const flow = await hand.flow({ members: { subject } });
      await flow.cancel({ reason: WHY });
      return flow.of('subject');
    },
  }),
  'canceled with its flow while it was running': path(CANCELED, FLOW_CANCELED, 1, {
    among: async (hand, subject) => {
      const flow = await hand.flow({ members: { subject } });
      await hand.claimNamed(flow.of('subject'), { leaseDuration: seconds(60) });
      await flow.cancel({ reason: WHY, policy: { mode: CancelMode.NOW } });
      return flow.of('subject');
    },
  }),
  'canceled because its flow fails fast': path(CANCELED, FLOW_CANCELED, 0, {
    among: async (hand, subject) => {
      const failFast = { failurePolicy: FlowFailurePolicy.CANCEL_REST };
      const flow = await hand.flow({ members: { other: {}, subject } }, failFast);
      await flow.fail('other');
      return flow.of('subject');
    },
  }),
  'canceled while it was blocked': path(CANCELED, CANCEL_REQUESTED, 0, {
    among: blocked,
    wait: (hand, id) => hand.cancel(id, { reason: WHY }),
  }),
  'not started in time while blocked': path(EXPIRED, TTL, 0, {
    spec: () => ({ ttl: seconds(0.2) }),
    among: blocked,
  }),
  'past its deadline while blocked': path(EXPIRED, DEADLINE, 0, { spec: soon, among: blocked }),
  'canceled with its parent': path(CANCELED, PARENT_ENDED, 0, {
    among: async (hand, subject) => {
      const parent = await hand.claimNamed(await hand.createOne({ lane: 'parents', type: 'other' }));
      const { childExecutionIds } = await hand.waitForChildren(parent, [{ execution: subject }]);
      await hand.cancel(parent.executionId, { reason: WHY });
      return only(childExecutionIds);
    },
  }),
  'canceled while its children were waited for': path(CANCELED, CANCEL_REQUESTED, 1, {
    among: async (hand, subject) => {
      const id = await hand.createOne(subject);
      await spawning(hand, await hand.claimNamed(id));
      return id;
    },
    wait: (hand, id) => hand.cancel(id, { reason: WHY }),
  }),
  'past its deadline while its children were waited for': path(EXPIRED, DEADLINE, 1, {
    spec: soon,
    among: async (hand, subject) => {
      const id = await hand.createOne(subject);
      await spawning(hand, await hand.claimNamed(id));
      return id;
    },
  }),
};
