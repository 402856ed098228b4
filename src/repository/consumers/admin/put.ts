/** Makes or changes a consumer. */
import type { Runner } from '../../database.js';
import { statement } from '../../statement.js';

const put = statement(
  'consumers.admin.put',
  'select verdict, version from {schema}.put_consumer($1, $2, $3::jsonb, $4, $5, $6, $7)',
);

/** The numbers are stored. */
export const ConsumerState = { ACTIVE: 1, PAUSED: 2, HALTED: 3 } as const;

/** Columns of the row. */
export interface ConsumerRule {
  readonly split_key: number;
  readonly max_tries: number;
  readonly initial_backoff_ms: number;
  readonly max_backoff_ms: number;
  /** What fails to the limit; else the consumer halts at it. */
  readonly parks: boolean;
  readonly max_parked: number;
  readonly hold_log: boolean;
  /** As asked for, in a form in which equal content is equal. */
  readonly spec: unknown;
}

/** A position, where `EARLIEST` is the first that is kept and null the head. */
export type Beginning = bigint | null;
export const EARLIEST = -1n;

export interface NewConsumer {
  readonly namespace: number;
  readonly name: string;
  readonly rule: ConsumerRule;
  /** Of a new one: 0 is 1. Of another one what it must have already: 0 is whatever it has. */
  readonly parts: number;
  /** Of a new one. */
  readonly from: Beginning;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
}

export interface PutConsumerAnswer {
  /**
   * same: nothing differed, nothing was written. conflict: `version` is another one than expected; 0: there is none. split_key,
   * part_count: that cannot be changed. pruned: what comes after `from` is gone.
   */
  readonly verdict: 'put' | 'same' | 'conflict' | 'split_key' | 'part_count' | 'pruned';
  readonly version: bigint;
}

export async function putConsumer(runner: Runner, asked: NewConsumer): Promise<PutConsumerAnswer> {
  const { namespace, name, rule, parts, from, expectedVersion, actor } = asked;
  const values = [namespace, name, JSON.stringify(rule), parts, from, expectedVersion, actor];
  const [answer] = await runner.query<PutConsumerAnswer>(put, values);
  if (answer === undefined) throw new Error('put_consumer answered nothing');
  return answer;
}
