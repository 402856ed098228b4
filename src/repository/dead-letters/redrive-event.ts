/** Routes an event again that was given up, in one statement: the router finds it, and closes its letter. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const redrive = statement(
  'dead-letters.redrive-event',
  'select verdict, version, state, event from {schema}.redrive_event($1, $2, $3, $4, $5, $6, $7)',
);

export interface EventRedrive {
  readonly namespace: number;
  readonly letter: string;
  readonly requestId: string | null;
  /** Of what was asked for. */
  readonly hash: Buffer;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
  readonly note: string;
}

export interface EventRedriveAnswer {
  /** duplicate: an earlier call with this request id had done it. canceled: its flow is. */
  readonly verdict: 'redriven' | 'duplicate' | 'reused' | 'not_found' | 'conflict' | 'wrong_state' | 'canceled';
  readonly version: bigint | null;
  readonly state: number | null;
  /** Also of another call, where the request id was reused: then it may be an execution. */
  readonly event: string | null;
}

export async function redriveEvent(runner: Runner, asked: EventRedrive): Promise<EventRedriveAnswer> {
  const { namespace, letter, requestId, hash, expectedVersion, actor, note } = asked;
  const values = [namespace, letter, requestId, hash, expectedVersion, actor, note];
  const [answer] = await runner.query<EventRedriveAnswer>(redrive, values);
  if (answer === undefined) throw new Error('redrive_event answered nothing');
  return answer;
}
