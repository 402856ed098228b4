/** Who claims: identity, what it offers, and for how long it wants its leases. */
import { z } from 'zod';
import type { LaneWeight } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { WorkerIdentity } from '../../../gen/tailrace/v1/worker_pb.js';
import {
  duration,
  HOUR_MS,
  integerOr,
  lane,
  list,
  name,
  names,
  refuse,
  SECOND_MS,
  type Shape,
  text,
} from '../validation.js';

const DEFAULT_LEASE_MS = 6_000;
const MAX_LANES = 256;
const MAX_TYPES = 1_000;
const MAX_CAPABILITIES = 256;
const DEFAULT_LANE = 'default';

/** Without an instance the name stands for it, which is good enough for a hand-typed call. */
export const workerIdentity = z
  .object({ name: name(), instanceId: text(200) } satisfies Shape<WorkerIdentity>)
  .transform((worker) => ({ name: worker.name, instance: worker.instanceId === '' ? worker.name : worker.instanceId }));

export const leaseDuration = duration(SECOND_MS, HOUR_MS);
export const leaseMs = leaseDuration.transform((ms) => ms ?? DEFAULT_LEASE_MS);
/** A lease not used within it goes back without counting. */
export const startWithin = duration(100, HOUR_MS);

export const lanesWithWeights = list(
  z.object({ lane, weight: integerOr(1, 1, 1_000) } satisfies Shape<LaneWeight>),
  MAX_LANES,
)
  .check((context) => {
    const seen = new Set<string>();
    context.value.forEach((entry, i) => {
      if (seen.has(entry.lane)) refuse(context.issues, entry.lane, 'occurs more than once', [i, 'lane']);
      seen.add(entry.lane);
    });
  })
  .transform((lanes) =>
    lanes.length === 0 ? new Map([[DEFAULT_LANE, 1]]) : new Map(lanes.map((entry) => [entry.lane, entry.weight])),
  );

export const types = names(MAX_TYPES);
export const capabilities = names(MAX_CAPABILITIES);
export const maxExecutions = integerOr(1, 1, 500);
