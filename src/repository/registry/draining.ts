/** Workers that were told to take no more work. Few, and read only when the registry's version has changed. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'registry.draining',
  'select namespace, id, drain_reason as reason from {schema}.worker where state = 2',
);

export function readDrainingWorkers(runner: Runner): Promise<{ namespace: number; id: string; reason: string }[]> {
  return runner.query(read);
}
