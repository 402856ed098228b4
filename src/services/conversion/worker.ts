/** Registry entries in the words of the contract. */
import { create } from '@bufbuild/protobuf';
import { type Worker, WorkerSchema } from '../../../gen/tailrace/v1/worker_pb.js';
import type { WorkerRow } from '../../repository/workers/index.js';
import { toTimestamp } from './times.js';

export function toWorker(row: WorkerRow, namespace: string): Worker {
  return create(WorkerSchema, {
    namespace,
    identity: { name: row.name, instanceId: row.id },
    state: row.state,
    lanes: [...row.lanes],
    types: [...row.types],
    capabilities: [...row.capabilities],
    maxConcurrency: row.max_concurrency,
    leaseCount: row.leases,
    labels: { ...row.labels },
    registerTime: toTimestamp(row.started_at),
    lastSeenTime: toTimestamp(row.seen_at),
    drainReason: row.drain_reason,
  });
}
