/** Deletes a subscription. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const remove = statement(
  'subscriptions.delete',
  'select verdict, version, due from {schema}.delete_subscription($1, $2, $3, $4)',
);

export interface DeleteSubscriptionAnswer {
  /** conflict: `version` is another one than expected; 0: there is none. */
  readonly verdict: 'deleted' | 'not_found' | 'conflict';
  readonly version: bigint;
  /** The router has something to do. */
  readonly due: boolean;
}

/** `expectedVersion` 0: any. */
export async function deleteSubscription(
  runner: Runner,
  namespace: number,
  name: string,
  expectedVersion: bigint,
  actor: string,
): Promise<DeleteSubscriptionAnswer> {
  const values = [namespace, name, expectedVersion, actor];
  const [answer] = await runner.query<DeleteSubscriptionAnswer>(remove, values);
  if (answer === undefined) throw new Error('delete_subscription answered nothing');
  return answer;
}
