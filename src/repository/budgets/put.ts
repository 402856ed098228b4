/** Makes or replaces a budget. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const put = statement(
  'budgets.put',
  `select verdict, version, missing, made_lanes, due
   from {schema}.put_budget($1, $2, $3::smallint, $4, $5, $6::text[], $7::bigint[], $8::bigint[], $9::smallint[],
     $10::text[], $11::uuid[], $12, $13)`,
);

/** The numbers are stored. */
export const AttachmentKind = { NAMESPACE: 1, LANE: 2, FLOW: 3, EXECUTION: 4 } as const;

export interface Attachment {
  readonly kind: number;
  /** The lane's name, for kind LANE. */
  readonly lane: string | null;
  /** The flow or execution, for these kinds. */
  readonly subject: string | null;
}

export interface NewBudget {
  readonly namespace: number;
  readonly name: string;
  readonly policy: number;
  /** Null: use begins anew by hand only. */
  readonly windowMs: number | null;
  /** Null: when the budget was made. */
  readonly windowStart: Date | null;
  readonly limits: readonly { readonly dimension: string; readonly hard: bigint; readonly soft: bigint }[];
  readonly attachments: readonly Attachment[];
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
}

export interface PutAnswer {
  /** same: nothing differed, nothing was written. conflict: `version` is another one than expected. */
  readonly verdict: 'put' | 'same' | 'conflict' | 'no_flow' | 'no_execution';
  readonly version: bigint;
  /** What it was to be attached to. */
  readonly missing: string | null;
  readonly made_lanes: boolean;
  /** The sweeper of budgets has something to do. */
  readonly due: boolean;
}

export async function putBudget(runner: Runner, asked: NewBudget): Promise<PutAnswer> {
  const [answer] = await runner.query<PutAnswer>(put, [
    asked.namespace,
    asked.name,
    asked.policy,
    asked.windowMs,
    asked.windowStart,
    asked.limits.map(({ dimension }) => dimension),
    asked.limits.map(({ hard }) => hard),
    asked.limits.map(({ soft }) => soft),
    asked.attachments.map(({ kind }) => kind),
    asked.attachments.map(({ lane }) => lane),
    asked.attachments.map(({ subject }) => subject),
    asked.expectedVersion,
    asked.actor,
  ]);
  if (answer === undefined) throw new Error('put_budget answered nothing');
  return answer;
}
