/** Gives a restored log an incarnation of its own, so that cursors of what the restore lost are told from new ones (0052). */
import { StartError } from '../../domain/start-error.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { stepLog } from './step.js';

const renew = statement('log.renew', 'select incarnation, head from {schema}.renew_incarnation()');

const STEP_ROWS = 10_000;
const OBJECT_IN_USE = '55006';

export interface RenewedLog {
  readonly incarnation: string;
  /** Cursors from before are good up to this position. */
  readonly head: bigint;
}

/** To be called before the first server starts on a restored database. Throws a StartError while servers are connected. */
export async function renewIncarnation(runner: Runner): Promise<RenewedLog> {
  for (let more = true; more; ) {
    const step = await stepLog(runner, STEP_ROWS);
    more = !step.busy && step.more;
  }
  try {
    const [row] = await runner.query<RenewedLog>(renew);
    if (row === undefined) throw new Error('the log has lost its incarnation row');
    return row;
  } catch (error) {
    if ((error as { code?: string }).code !== OBJECT_IN_USE) throw error;
    throw new StartError(`the log stays as it is: ${(error as Error).message}`, { cause: error });
  }
}
