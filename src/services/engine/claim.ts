/** ClaimExecutions and ClaimExecution. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ClaimExecutionRequest,
  type ClaimExecutionResponse,
  ClaimExecutionResponseSchema,
  type ClaimExecutionsRequest,
  type ClaimExecutionsResponse,
  ClaimExecutionsResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { ClaimAsk } from '../../dispatch/lines.js';
import { EngineError } from '../../domain/errors.js';
import { EndCall, isTerminal, stateName } from '../../domain/states.js';
import { claimExecution, type Granted, type Holder } from '../../repository/claims/index.js';
import { namespaceFor } from '../namespace-in.js';
import { refuseHidden } from '../shown.js';
import { duration, id, MINUTE_MS, namespace, refuse, type Shape, validate } from '../validation.js';
import { claimsOf } from './claims-of.js';
import type { EngineServiceDeps } from './deps.js';
import {
  capabilities,
  lanesWithWeights,
  leaseMs,
  maxExecutions,
  startWithin,
  types,
  workerIdentity,
} from './holder.js';
import { executionNotFound, wrongState } from './refusals.js';
import { required } from './required.js';
import type { Writers } from './writers.js';

const claimMany = z
  .object({
    namespace,
    worker: required(workerIdentity),
    lanes: lanesWithWeights,
    types,
    capabilities,
    maxExecutions,
    wait: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
    leaseDuration: leaseMs,
    startWithin,
  } satisfies Shape<ClaimExecutionsRequest>)
  .check(startsWithinLease);

const claimOne = z
  .object({
    namespace,
    executionId: id,
    worker: required(workerIdentity),
    capabilities,
    leaseDuration: leaseMs,
    startWithin,
  } satisfies Shape<ClaimExecutionRequest>)
  .check(startsWithinLease);

function startsWithinLease(context: z.core.ParsePayload<{ startWithin: number | null; leaseDuration: number }>): void {
  const { startWithin: begin, leaseDuration } = context.value;
  if (begin !== null && begin > leaseDuration) {
    refuse(context.issues, begin, 'must not be longer than lease_duration', ['startWithin']);
  }
}

export function claimExecutionsCall(deps: EngineServiceDeps) {
  const { registry, presence } = deps;
  return async (message: ClaimExecutionsRequest, context: HandlerContext): Promise<ClaimExecutionsResponse> => {
    const asked = validate(claimMany, message);
    const { name: worker, instance } = asked.worker;
    const namespaceId = await namespaceFor(registry, asked.namespace, context);
    await presence.claimed({
      namespace: namespaceId,
      instance,
      name: worker,
      lanes: [...asked.lanes.keys()],
      types: asked.types,
      capabilities: asked.capabilities,
    });
    if (registry.isDraining(namespaceId, instance)) return create(ClaimExecutionsResponseSchema, { drain: true });
    const holder: Holder = {
      namespace: namespaceId,
      instance,
      name: worker,
      leaseMs: asked.leaseDuration,
      beginMs: asked.startWithin,
    };
    const ask: ClaimAsk = {
      namespace: namespaceId,
      lanes: asked.lanes,
      types: new Set(asked.types),
      capabilities: new Set(asked.capabilities),
      limit: asked.maxExecutions,
      waitMs: asked.wait,
      holder,
    };
    const granted = await takeClaims(deps, ask, context.signal);
    return create(ClaimExecutionsResponseSchema, {
      claims: await claimsOf(deps, granted, asked.namespace, asked.leaseDuration),
      drain: registry.isDraining(namespaceId, instance),
    });
  };
}

/** Claims for a caller who is still there: what was granted to one who has left goes back at once. */
export async function takeClaims(
  { lines, after, writers }: EngineServiceDeps,
  ask: ClaimAsk,
  signal: AbortSignal,
): Promise<Granted[]> {
  const granted = await lines.claim(ask, signal);
  if (granted.length === 0) return granted;
  after.committed(granted.length);
  after.due('leases', Math.min(ask.holder.leaseMs, ask.holder.beginMs ?? ask.holder.leaseMs));
  if (!signal.aborted) return granted;
  await giveBack(writers, ask.namespace, granted);
  return [];
}

/** What was granted to a caller who has left. */
export async function giveBack(writers: Writers, namespace: number, granted: readonly Granted[]): Promise<void> {
  if (granted.length === 0) return;
  await writers.end(
    EndCall.RELEASE,
    granted.map((row) => ({
      namespace,
      execution: row.execution,
      lease: row.lease,
      token: row.token,
      hash: NOBODY,
      failure: null,
      message: 'the claimer had left',
      runAt: null,
      delayMs: null,
      content: null,
    })),
  );
}

const NOBODY = Buffer.from('the claimer left');

export function claimExecutionCall(deps: EngineServiceDeps) {
  const { database, registry, lines, after } = deps;
  return async (message: ClaimExecutionRequest): Promise<ClaimExecutionResponse> => {
    const asked = validate(claimOne, message);
    const namespaceId = await registry.namespace(asked.namespace);
    if (namespaceId === undefined) throw executionNotFound(asked.executionId);
    const { name: worker, instance } = asked.worker;
    const answer = await claimExecution(database, asked.executionId, asked.capabilities, {
      namespace: namespaceId,
      instance,
      name: worker,
      leaseMs: asked.leaseDuration,
      beginMs: asked.startWithin,
    });
    switch (answer.verdict) {
      case 'claimed': {
        lines.attempts.granted([answer.claim], asked.leaseDuration);
        after.committed(1);
        after.due('leases', Math.min(asked.leaseDuration, asked.startWithin ?? asked.leaseDuration));
        const [claim] = await claimsOf(deps, [answer.claim], asked.namespace, asked.leaseDuration);
        return create(ClaimExecutionResponseSchema, {
          ...(claim && { claim }),
          drain: registry.isDraining(namespaceId, instance),
        });
      }
      case 'not_found':
        throw executionNotFound(asked.executionId);
      case 'paused':
        throw new EngineError('LANE_PAUSED', 'the lane is paused and hands out nothing', {
          metadata: { execution_id: asked.executionId },
        });
      case 'capability':
        throw new EngineError('CAPABILITY_MISSING', 'the worker lacks capabilities that the execution requires', {
          metadata: { execution_id: asked.executionId, missing: answer.missing.join(',') },
        });
      case 'quota':
        throw new EngineError('QUOTA_EXCEEDED', 'the limit of its lane or namespace is reached', {
          metadata: { execution_id: asked.executionId },
          ...(answer.retryMs !== null && { retryDelayMs: answer.retryMs }),
        });
      case 'budget':
        throw new EngineError('BUDGET_EXCEEDED', `budget ${JSON.stringify(answer.budget)} is used up`, {
          metadata: { execution_id: asked.executionId, budget: answer.budget },
        });
      case 'wrong_state':
        if (isTerminal(answer.state)) {
          await refuseHidden(database, namespaceId, [asked.executionId]);
          throw new EngineError('EXECUTION_TERMINAL', `the execution has ended ${stateName(answer.state)}`, {
            metadata: { execution_id: asked.executionId, state: stateName(answer.state) },
          });
        }
        throw wrongState(asked.executionId, answer.state);
    }
  };
}
