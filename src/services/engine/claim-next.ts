/** What a completing worker claims in the same call. */
import { z } from 'zod';
import { type ClaimNext, ClaimNextMode, ClaimNextModeSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { enumNumber, type Shape } from '../validation.js';
import { takeClaims } from './claim.js';
import { toClaim } from './claim-message.js';
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

/**
 * Does not wait. Completions release no successors yet, so that mode finds nothing. A claim that fails leaves the
 * completions as they are: they are recorded, and the worker claims again by itself.
 */
export async function takeNext(
  deps: EngineServiceDeps,
  asked: z.output<typeof claimNext>,
  namespace: string,
  signal: AbortSignal,
): Promise<{ claims: Claim[]; drain: boolean }> {
  const { registry } = deps;
  const namespaceId = await registry.namespace(namespace);
  const { name, instance } = asked.worker;
  if (namespaceId === undefined || asked.mode !== ClaimNextMode.ANY) return { claims: [], drain: false };
  const drain = registry.isDraining(namespaceId, instance);
  if (drain) return { claims: [], drain };
  const granted = await takeClaims(
    deps,
    {
      namespace: namespaceId,
      lanes: asked.lanes,
      types: new Set(asked.types),
      capabilities: new Set(asked.capabilities),
      limit: asked.maxExecutions,
      waitMs: 0,
      holder: { namespace: namespaceId, instance, name, leaseMs: asked.leaseDuration, beginMs: null },
    },
    signal,
  ).catch(() => []);
  return { claims: granted.map((claim) => toClaim(claim, namespace, asked.leaseDuration, registry)), drain };
}
