/**
 * Every path that ends an execution, by name: what is asked for, what somebody does, how it ends. Named also its type.
 *
 * A path either runs (it is claimed by name, then `run` does the rest) or waits (`wait` does the rest, or time does).
 * Where it depends on others (dependent-paths.ts), `among` makes them too and brings them where they have to be.
 */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type ByHand, leaseOf, seconds } from './by-hand.js';
import { DEPENDENT_PATHS } from './dependent-paths.js';
import type { FlowsByHand } from './flows-by-hand.js';
import { type Path, path, type Subject, soon, WHY } from './terminal-path.js';
import { WAIT_PATHS } from './wait-paths.js';

export { type Path, WHY };

const { SUCCEEDED, FAILED, CANCELED, EXPIRED } = ExecutionState;
const {
  UNSPECIFIED,
  RETRIES_EXHAUSTED,
  PERMANENT,
  TIMEOUT,
  RECLAIMS_EXHAUSTED,
  TTL,
  DEADLINE,
  NO_HANDLER,
  INVALID_RESULT,
  CANCEL_REQUESTED,
  CANCELED_BY_WORKER,
} = EndReason;

const nothing = async () => undefined;
const later = { retryDelay: seconds(60) };
const atOnce = { retryDelay: seconds(0) };
const once = { retryPolicy: { maxAttempts: 1 } };
const patient = { mode: CancelMode.COOPERATIVE, grace: seconds(60) };

const failing = (failureClass: FailureClass) => (hand: ByHand, claim: Claim) => hand.fail(claim, failureClass);

const again = async (hand: ByHand, { executionId }: Claim, leaseSeconds = 60) =>
  await hand.claimNamed(executionId, { leaseDuration: seconds(leaseSeconds) });

const PATHS_ALONE: Readonly<Record<string, Path>> = {
  completed: path(SUCCEEDED, UNSPECIFIED, 1, { run: (hand, claim) => hand.complete(claim) }),
  'completed after it was asked to stop': path(SUCCEEDED, UNSPECIFIED, 1, {
    run: async (hand, claim) => {
      await hand.cancel(claim.executionId, { reason: WHY });
      await hand.complete(claim);
    },
  }),
  'completed at the second attempt': path(SUCCEEDED, UNSPECIFIED, 2, {
    run: async (hand, claim) => {
      await hand.fail(claim, FailureClass.TRANSIENT, atOnce);
      await hand.complete(await again(hand, claim));
    },
  }),

  'retries exhausted': path(FAILED, RETRIES_EXHAUSTED, 2, {
    spec: () => ({ retryPolicy: { maxAttempts: 2 } }),
    run: async (hand, claim) => {
      await hand.fail(claim, FailureClass.TRANSIENT, atOnce);
      await hand.fail(await again(hand, claim), FailureClass.TRANSIENT);
    },
  }),
  'retries exhausted by a lost lease': path(FAILED, RETRIES_EXHAUSTED, 1, {
    spec: () => once,
    leaseSeconds: 1,
    run: nothing,
  }),
  'failed for good': path(FAILED, PERMANENT, 1, { run: failing(FailureClass.PERMANENT) }),
  'timed out, as its holder says': path(FAILED, TIMEOUT, 1, { spec: () => once, run: failing(FailureClass.TIMEOUT) }),
  'timed out, as the engine says': path(FAILED, TIMEOUT, 1, {
    spec: () => ({ ...once, attemptTimeout: seconds(0.2) }),
    run: nothing,
  }),
  'reclaims exhausted': path(FAILED, RECLAIMS_EXHAUSTED, 2, {
    spec: () => ({ retryPolicy: { maxReclaims: 1, countLostLeases: false } }),
    leaseSeconds: 1,
    run: async (hand, claim) => {
      await hand.claimOne({ types: [claim.type], lanes: [{ lane: claim.lane }], leaseDuration: seconds(1) });
    },
  }),
  'invalid result': path(FAILED, INVALID_RESULT, 1, { run: failing(FailureClass.INVALID_RESULT) }),

  'canceled while it was due': path(CANCELED, CANCEL_REQUESTED, 0, {
    wait: (hand, id) => hand.cancel(id, { reason: WHY }),
  }),
  'canceled before it was due': path(CANCELED, CANCEL_REQUESTED, 0, {
    spec: () => ({ delay: seconds(60) }),
    wait: (hand, id) => hand.cancel(id, { reason: WHY }),
  }),
  'canceled between two attempts': path(CANCELED, CANCEL_REQUESTED, 1, {
    run: async (hand, claim) => {
      await hand.fail(claim, FailureClass.TRANSIENT, later);
      await hand.cancel(claim.executionId, { reason: WHY });
    },
  }),
  'canceled now': path(CANCELED, CANCEL_REQUESTED, 1, {
    run: (hand, claim) => hand.cancel(claim.executionId, { reason: WHY, policy: { mode: CancelMode.NOW } }),
  }),
  'canceled by a holder that was asked': path(CANCELED, CANCEL_REQUESTED, 1, {
    run: async (hand, claim) => {
      await hand.cancel(claim.executionId, {
        reason: WHY,
        policy: { ...patient, lateCompletion: LateCompletion.REFUSED },
      });
      await hand.fail(claim, FailureClass.CANCELED);
    },
  }),
  'canceled when the grace was over': path(CANCELED, CANCEL_REQUESTED, 1, {
    run: (hand, claim) => hand.cancel(claim.executionId, { reason: WHY, policy: { ...patient, grace: seconds(1) } }),
  }),
  'canceled when the lease ran out': path(CANCELED, CANCEL_REQUESTED, 1, {
    leaseSeconds: 1,
    run: (hand, claim) => hand.cancel(claim.executionId, { reason: WHY, policy: patient }),
  }),
  'canceled when the attempt timed out': path(CANCELED, CANCEL_REQUESTED, 1, {
    spec: () => ({ attemptTimeout: seconds(0.2) }),
    run: (hand, claim) => hand.cancel(claim.executionId, { reason: WHY, policy: patient }),
  }),
  'canceled by its holder': path(CANCELED, CANCELED_BY_WORKER, 1, {
    run: (hand, claim) => hand.cancel(claim.executionId, { reason: WHY, lease: leaseOf(claim) }),
  }),
  'failed as canceled': path(CANCELED, CANCELED_BY_WORKER, 1, { run: failing(FailureClass.CANCELED) }),

  'not started in time': path(EXPIRED, TTL, 0, { spec: () => ({ ttl: seconds(0.2) }), wait: nothing }),
  'known to no worker': path(EXPIRED, NO_HANDLER, 0, { spec: () => ({ ttl: seconds(0.2) }), wait: nothing }),
  'past its deadline while due': path(EXPIRED, DEADLINE, 0, { spec: soon, wait: nothing }),
  'past its deadline before it was due': path(EXPIRED, DEADLINE, 0, {
    spec: () => ({ ...soon(), delay: seconds(60) }),
    wait: nothing,
  }),
  'past its deadline between two attempts': path(EXPIRED, DEADLINE, 1, {
    spec: soon,
    run: (hand, claim) => hand.fail(claim, FailureClass.TRANSIENT, later),
  }),
  'past its deadline while running': path(EXPIRED, DEADLINE, 1, { spec: soon, run: nothing }),
};

export const PATHS: Readonly<Record<string, Path>> = { ...PATHS_ALONE, ...DEPENDENT_PATHS, ...WAIT_PATHS };

/** Those that need nobody else, so that all of them can be members of one flow. */
export const ALONE: readonly string[] = Object.keys(PATHS_ALONE);

/** Goes one path to its end. The type that no worker knows stays unknown. */
export async function walk(
  hand: FlowsByHand,
  name: string,
  lane: string,
  tags: Record<string, string> = {},
  more: Subject = {},
): Promise<string> {
  const { spec, among } = PATHS[name] ?? path(SUCCEEDED, UNSPECIFIED, 1);
  const subject = { type: name, lane, tags, ...more, ...spec() };
  const id = among ? await among(hand, subject) : await hand.createOne(subject);
  await finish(hand, name, id);
  return id;
}

/** Goes the rest of a path, once its execution is there. */
export async function finish(hand: ByHand, name: string, id: string): Promise<void> {
  const { leaseSeconds, run, wait } = PATHS[name] ?? path(SUCCEEDED, UNSPECIFIED, 1);
  if (run) await run(hand, await hand.claimNamed(id, { leaseDuration: seconds(leaseSeconds) }));
  await wait?.(hand, id);
  await hand.end(id);
}

/** Declares every type but the one that stays unknown. */
export const KNOWN_TYPES: readonly string[] = Object.keys(PATHS).filter((name) => PATHS[name]?.reason !== NO_HANDLER);
