/** Tells workers to take no more work, or no longer so. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const drain = statement('workers.drain', 'select {schema}.drain_workers($1, $2, $3, $4, $5, $6) as instances');

export interface WorkerDrain {
  readonly namespace: number;
  readonly name: string;
  /** Null: every present instance of the name. */
  readonly instance: string | null;
  readonly drain: boolean;
  readonly actor: string;
  readonly reason: string;
}

/** The instances concerned, changed or not; none when there is no such worker. */
export async function drainWorkers(runner: Runner, asked: WorkerDrain): Promise<string[]> {
  const { namespace, name, instance, reason, actor } = asked;
  const [row] = await runner.query<{ instances: string[] }>(drain, [
    namespace,
    name,
    instance,
    asked.drain,
    actor,
    reason,
  ]);
  return row?.instances ?? [];
}
