/** What a completing worker claims in the same call. */
import { z } from 'zod';
import { type ClaimNext, ClaimNextMode, ClaimNextModeSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import type { Granted } from '../../repository/claims/index.js';
import type { Taker } from '../../repository/leases/index.js';
import { enumNumber, type Shape } from '../validation.js';
import { giveBack, takeClaims } from './claim.js';
import { claimsOf } from './claims-of.js';
import type { EngineServiceDeps } from './deps.js';
import { capabilities, lanesWithWeights, leaseMs, maxExecutions, types, workerIdentity } from './holder.js';
import { required } from './required.js';

export const claimNext = z.object({
  mode: enumNumber(ClaimNextModeSchema),
  worker: required(workerIdentity),
  lanes: lanesWithWeights,
  types,
  capabilities,
  maxExecutions,
  leaseDuration: leaseMs,
} satisfies Shape<ClaimNext>);

type Asked = z.output<typeof claimNext>;

/** Who takes what the completions of this call release; nobody when nothing is asked for, or the worker drains. */
export function takerOf({ registry }: EngineServiceDeps, asked: Asked | undefined, namespace: number): Taker | null {
  if (asked === undefined || !TAKING.includes(asked.mode)) return null;
  const { name, instance } = asked.worker;
  if (registry.isDraining(namespace, instance)) return null;
  const lanes = [...asked.lanes.keys()];
  const classes = registry.eligible(namespace, lanes, new Set(asked.types), new Set(asked.capabilities));
  return {
    classes: classes.map(({ id }) => id),
    holder: { namespace, instance, name, leaseMs: asked.leaseDuration, beginMs: null },
    room: asked.maxExecutions,
  };
}

const TAKING: readonly number[] = [ClaimNextMode.SUCCESSORS, ClaimNextMode.ANY];

/**
 * What the call answers beside its results: successors that were handed over with the completions, then, with ANY, what
 * stands in line. Does not wait. A claim that fails leaves the completions as they are: they are recorded, and the worker
 * claims again by itself.
 */
export async function takeNext(
  deps: EngineServiceDeps,
  asked: Asked,
  namespace: string,
  handed: readonly Granted[],
  signal: AbortSignal,
): Promise<{ claims: Claim[]; drain: boolean }> {
  const { registry, writers } = deps;
  const namespaceId = await registry.namespace(namespace);
  const { name, instance } = asked.worker;
  if (namespaceId === undefined) return { claims: [], drain: false };
  if (signal.aborted) {
    await giveBack(writers, namespaceId, handed);
    return { claims: [], drain: false };
  }
  const drain = registry.isDraining(namespaceId, instance);
  const room = asked.maxExecutions - handed.length;
  const takes = asked.mode === ClaimNextMode.ANY && room > 0 && !drain;
  const granted = takes
    ? await takeClaims(
        deps,
        {
          namespace: namespaceId,
          lanes: asked.lanes,
          types: new Set(asked.types),
          capabilities: new Set(asked.capabilities),
          limit: room,
          waitMs: 0,
          holder: { namespace: namespaceId, instance, name, leaseMs: asked.leaseDuration, beginMs: null },
        },
        signal,
      ).catch(() => [])
    : [];
  const taken = [...handed, ...granted];
  try {
    return { claims: await claimsOf(deps, taken, namespace, asked.leaseDuration), drain };
  } catch {
    // The completions are recorded, so the call must not fail; what it cannot hand over goes back to its line.
    await giveBack(writers, namespaceId, taken);
    return { claims: [], drain };
  }
}
