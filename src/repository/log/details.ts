/** What watchers are told about an execution besides the log entry: its core row, and its outcome once it has one. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** Both sides by primary key. A result over the limit is not read at all: its length is known without detoasting. */
const read = statement(
  'log.details',
  `select e.id, e.namespace, e.class, e.flow, e.tags, e.created_at,
     o.state, o.reason, o.ended_at, o.started_at, o.attempt, o.failure_class, o.message, o.details, o.result_type,
     case when octet_length(o.result) <= $2::int then o.result end as result,
     coalesce(octet_length(o.result) > $2::int, false) as result_omitted
   from {schema}.execution e left join {schema}.outcome o on o.execution = e.id
   where e.id = any ($1::uuid[])`,
);

interface DetailRow {
  id: string;
  namespace: number;
  class: number;
  flow: string | null;
  tags: Record<string, string>;
  created_at: Date;
  state: number | null;
  reason: string | null;
  ended_at: Date;
  started_at: Date | null;
  attempt: number;
  failure_class: number | null;
  message: string | null;
  details: string | null;
  result_type: string | null;
  result: Buffer | null;
  result_omitted: boolean;
}

export interface ExecutionOutcome {
  readonly state: number;
  readonly reason: string | null;
  readonly endedAt: Date;
  readonly startedAt: Date | null;
  /** The ending attempt; 0 when it never ran. */
  readonly attempt: number;
  readonly failureClass: number | null;
  readonly message: string | null;
  readonly details: string | null;
  readonly resultType: string | null;
  readonly result: Buffer | null;
  /** There is a result, but it is over the limit. */
  readonly resultOmitted: boolean;
}

export interface ExecutionDetail {
  readonly id: string;
  readonly namespace: number;
  readonly class: number;
  readonly flow: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  /** Undefined while the execution is not terminal. */
  readonly outcome: ExecutionOutcome | undefined;
}

/** In no order; what does not exist is missing. `inlineLimit`: bytes up to which a result comes along. */
export async function readDetails(
  runner: Runner,
  ids: readonly string[],
  inlineLimit: number,
): Promise<ExecutionDetail[]> {
  const rows = await runner.query<DetailRow>(read, [ids, inlineLimit]);
  return rows.map((row) => ({
    id: row.id,
    namespace: row.namespace,
    class: row.class,
    flow: row.flow,
    tags: row.tags,
    createdAt: row.created_at,
    outcome: row.state === null ? undefined : outcomeOf(row, row.state),
  }));
}

function outcomeOf(row: DetailRow, state: number): ExecutionOutcome {
  return {
    state,
    reason: row.reason,
    endedAt: row.ended_at,
    startedAt: row.started_at,
    attempt: row.attempt,
    failureClass: row.failure_class,
    message: row.message,
    details: row.details,
    resultType: row.result_type,
    result: row.result,
    resultOmitted: row.result_omitted,
  };
}
