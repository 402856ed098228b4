/** Moves the live generation of a consumer. */
import type { Runner } from '../../database.js';
import { statement } from '../../statement.js';
import type { Beginning } from './put.js';
import type { ConsumerChange, ConsumerChanged } from './step.js';

const reset = statement(
  'consumers.admin.reset',
  'select verdict, version from {schema}.reset_consumer($1, $2, $3, $4, $5, $6)',
);

const at = statement('consumers.admin.at', 'select "position", kept from {schema}.position_at($1)');

export async function resetConsumer(runner: Runner, asked: ConsumerChange, to: Beginning): Promise<ConsumerChanged> {
  const { namespace, name, expectedVersion, actor, reason } = asked;
  const [answer] = await runner.query<ConsumerChanged>(reset, [namespace, name, to, expectedVersion, actor, reason]);
  if (answer === undefined) throw new Error('reset_consumer answered nothing');
  return answer;
}

export interface PlaceInTime {
  /** Everything that was recorded from then on lies behind it. */
  readonly position: bigint;
  /** All of that is still there. */
  readonly kept: boolean;
}

export async function positionAt(runner: Runner, time: Date): Promise<PlaceInTime> {
  const [place] = await runner.query<PlaceInTime>(at, [time]);
  if (place === undefined) throw new Error('position_at answered nothing');
  return place;
}
