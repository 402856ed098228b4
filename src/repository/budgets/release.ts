/** Use that an execution gives back. */
import type { Runner } from '../database.js';
import type { Refused } from '../leases/index.js';
import { statement } from '../statement.js';

const release = statement(
  'budgets.release',
  `select verdict, state, attempt, token, answer, due
   from {schema}.release_usage($1, $2, $3, $4, $5::text[], $6::bigint[], $7, $8)`,
);

export interface UsageRelease {
  readonly namespace: number;
  readonly execution: string;
  /** The holder's, where it is the holder that gives back. */
  readonly lease: { readonly lease: string; readonly token: bigint } | null;
  /** By dimension, sorted; distinct dimensions, no negative amount. */
  readonly usage: readonly (readonly [string, bigint])[];
  /** Null: every call gives back. */
  readonly key: string | null;
  /** Of key and usage. */
  readonly hash: Buffer;
}

export interface Released {
  /** duplicate: given back by an earlier call with this key. */
  readonly verdict: 'released' | 'duplicate';
  /** Amounts by dimension, as text. */
  readonly answer: { readonly released: Readonly<Record<string, string>> };
  /** The sweeper of budgets has something to do. */
  readonly due: boolean;
}

export type ReleaseAnswer = Released | Refused | { readonly verdict: 'reused' };

export async function releaseUsage(runner: Runner, asked: UsageRelease): Promise<ReleaseAnswer> {
  const [answer] = await runner.query<ReleaseAnswer>(release, [
    asked.namespace,
    asked.execution,
    asked.lease?.lease ?? null,
    asked.lease?.token ?? null,
    asked.usage.map(([dimension]) => dimension),
    asked.usage.map(([, amount]) => amount),
    asked.key,
    asked.hash,
  ]);
  if (answer === undefined) throw new Error('release_usage answered nothing');
  return answer;
}
