/** Stops a consumer and lets it go on. */
import type { Runner } from '../../database.js';
import { statement } from '../../statement.js';

const step = statement(
  'consumers.admin.step',
  'select verdict, version from {schema}.pause_consumer($1, $2, $3, $4, $5, $6)',
);

/** What every change of an existing consumer says. */
export interface ConsumerChange {
  readonly namespace: number;
  readonly name: string;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
  readonly reason: string;
}

export interface ConsumerChanged {
  /** same: nothing was written. conflict: `version` is another one than expected. pruned: what comes next is gone. */
  readonly verdict: 'changed' | 'same' | 'conflict' | 'not_found' | 'pruned';
  readonly version: bigint;
}

export async function pauseConsumer(runner: Runner, asked: ConsumerChange, pause: boolean): Promise<ConsumerChanged> {
  const { namespace, name, expectedVersion, actor, reason } = asked;
  const [answer] = await runner.query<ConsumerChanged>(step, [namespace, name, pause, expectedVersion, actor, reason]);
  if (answer === undefined) throw new Error('pause_consumer answered nothing');
  return answer;
}
