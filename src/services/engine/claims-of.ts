/** Granted leases as claims, with what the joins before them hand over, and the signals that let them go on. */
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { type Granted, readJoinedInputs } from '../../repository/claims/index.js';
import { toClaim } from './claim-message.js';
import type { EngineServiceDeps } from './deps.js';
import { matchedBy, toResumeInfo } from './suspensions/resume-info.js';

/** Reads nothing for work that waited for nothing. */
export async function claimsOf(
  { database, registry }: EngineServiceDeps,
  granted: readonly Granted[],
  namespace: string,
  leaseMs: number,
): Promise<Claim[]> {
  const joins = granted.flatMap(({ joined }) => joined ?? []);
  const [inputs, matched] = await Promise.all([
    joins.length === 0 ? undefined : readJoinedInputs(database, joins),
    matchedBy(database, granted),
  ]);
  // A class may be another process's, made just now; the claim tells its lane and type.
  if (granted.some((row) => registry.claimClass(row.class) === undefined)) await registry.refresh();
  return granted.map((row) =>
    toClaim(
      row,
      (row.joined !== null && inputs?.get(row.joined)) || [],
      toResumeInfo(row, matched.get(row.lease)),
      namespace,
      leaseMs,
      registry,
    ),
  );
}
