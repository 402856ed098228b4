/** Workers that were seen, many in one statement. */
import { arrayLiteral } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const sight = statement(
  'workers.sight',
  `select {schema}.sight_workers($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[],
     $8::int[], $9::jsonb[])`,
);

export interface WorkerSighting {
  readonly namespace: number;
  /** Random per process. */
  readonly instance: string;
  readonly name: string;
  readonly lanes: readonly string[];
  /** Empty: every type. */
  readonly types: readonly string[];
  readonly capabilities: readonly string[];
  /** What only a heartbeat tells; absent for a mere claim, which adds to what is known. */
  readonly told?: { readonly maxConcurrency: number; readonly labels: Readonly<Record<string, string>> };
}

/** Distinct by namespace and instance. */
export async function sightWorkers(runner: Runner, workers: readonly WorkerSighting[]): Promise<void> {
  await runner.query(sight, [
    workers.map((worker) => worker.namespace),
    workers.map((worker) => worker.instance),
    workers.map((worker) => worker.name),
    workers.map((worker) => arrayLiteral(worker.lanes)),
    workers.map((worker) => arrayLiteral(worker.types)),
    workers.map((worker) => arrayLiteral(worker.capabilities)),
    workers.map((worker) => worker.told !== undefined),
    workers.map((worker) => worker.told?.maxConcurrency ?? 0),
    workers.map((worker) => JSON.stringify(worker.told?.labels ?? {})),
  ]);
}
