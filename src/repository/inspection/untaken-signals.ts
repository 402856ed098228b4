/** Signals of an execution that no suspension has taken. */
import type { UntakenSignal } from '../../domain/condition-progress.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** As many as an execution may have. */
const MOST = 10_000;

const read = statement(
  'inspection.untaken-signals',
  `select s.name, s.waitpoint, s.source::int as source, s.source_id from {schema}.signal s
   where s.execution = $1::uuid and s.matched is null order by s.number limit ${MOST}`,
);

export function readUntakenSignals(runner: Runner, execution: string): Promise<UntakenSignal[]> {
  return runner.query<UntakenSignal>(read, [execution]);
}
