/** Takes workers out of the registry. Their leases are left to be released or to end. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const forgetOne = statement('workers.forget', 'select {schema}.forget_workers($1, $2, null) as gone');

const forgetUnseen = statement(
  'workers.forget-unseen',
  `select {schema}.forget_workers(null, null, clock_timestamp() - interval '1 day') as gone`,
);

/** An unknown instance is no error. */
export async function forgetWorker(runner: Runner, namespace: number, instance: string): Promise<void> {
  await runner.query(forgetOne, [namespace, instance]);
}

/** Those that were not seen for a day; answers how many. */
export async function forgetUnseenWorkers(runner: Runner): Promise<number> {
  const [row] = await runner.query<{ gone: number }>(forgetUnseen);
  return row?.gone ?? 0;
}
