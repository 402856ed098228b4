/**
 * Granted leases as claims, with what the joins before them hand over, what they react to, and the signals that let them go
 * on.
 */
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { type Granted, readJoinedInputs, readTriggers, type TriggerRow } from '../../repository/claims/index.js';
import type { Database } from '../../repository/database.js';
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
  const [inputs, matched, triggers] = await Promise.all([
    joins.length === 0 ? undefined : readJoinedInputs(database, joins),
    matchedBy(database, granted),
    triggersOf(database, granted),
  ]);
  // A class may be another process's, made just now; the claim tells its lane and type.
  if (granted.some((row) => registry.claimClass(row.class) === undefined)) await registry.refresh();
  return granted.map((row) =>
    toClaim(
      row,
      (row.joined !== null && inputs?.get(row.joined)) || [],
      toResumeInfo(row, matched.get(row.lease)),
      triggers.get(row),
      namespace,
      leaseMs,
      registry,
    ),
  );
}

/** A payload comes along where it is the input: one that a redrive was given stands with the execution. */
async function triggersOf(database: Database, granted: readonly Granted[]): Promise<ReadonlyMap<Granted, TriggerRow>> {
  const reacting = granted.flatMap((row) => {
    const { execution, subscription, event, joined, input_type: own } = row;
    return subscription === null ? [] : [{ row, execution, subscription, event, joined, whole: own === null }];
  });
  if (reacting.length === 0) return new Map();
  const triggers = await readTriggers(database, reacting);
  return new Map(reacting.flatMap(({ row }, i) => (triggers[i] === undefined ? [] : [[row, triggers[i]]])));
}
