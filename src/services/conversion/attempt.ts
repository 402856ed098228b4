/** An attempt, ended or open, in the words of the contract. */
import { create } from '@bufbuild/protobuf';
import { type Attempt, AttemptSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { AttemptRow } from '../../repository/inspection/index.js';
import { progressOf, toFailure } from './failure.js';
import { toDuration, toTimestamp } from './times.js';

export function toAttempt(row: AttemptRow, namespace: string): Attempt {
  const until = row.ended_at ?? row.now;
  return create(AttemptSchema, {
    executionId: row.execution,
    attemptNumber: row.number,
    kind: row.kind,
    outcome: row.outcome ?? 0,
    worker: { name: row.worker_name, instanceId: row.worker },
    fencingToken: row.token,
    claimableTime: toTimestamp(row.ready_at),
    startTime: toTimestamp(row.started_at),
    queueDuration: toDuration(row.started_at.getTime() - row.ready_at.getTime()),
    runDuration: toDuration(until.getTime() - row.started_at.getTime()),
    type: row.type,
    lane: row.lane,
    flowId: row.flow ?? '',
    namespace,
    usage: Object.fromEntries(
      Object.entries(row.usage ?? {}).map(([dimension, amount]) => [dimension, BigInt(amount)]),
    ),
    ...(row.ended_at && { endTime: toTimestamp(row.ended_at) }),
    ...(row.run_at && { retryTime: toTimestamp(row.run_at) }),
    // A revocation, a release and a cancellation tell why in the same words.
    ...((row.failure_class !== null || row.message !== null) && { failure: toFailure(row) }),
    ...progressOf(row),
  });
}
