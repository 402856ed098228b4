/** What watchers are told about an execution besides the log entry: its core row, and its outcome once it has one. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/**
 * Everything by primary key; attempt and dead_letter only for those that were retried or gave up. A result over the
 * limit is not read at all: its length is known without detoasting.
 */
const read = statement(
  'log.details',
  `select e.id, e.namespace, e.class, e.flow, e.tags, e.redrive_of, e.created_at,
     o.state, o.reason, o.ended_at, o.attempt, o.token, o.failure_class, o.failure_code, o.message, o.result_type,
     case when o.attempt = 1 and o.started_at is not null then o.started_at
          when o.attempt > 0 then (select a.started_at from {schema}.attempt a where a.execution = e.id and a.number = 1)
     end as started_at,
     case when o.state in (8, 10) then
       coalesce(e.letter, (select d.id from {schema}.dead_letter d where d.execution = e.id limit 1)) end as letter,
     case when octet_length(o.result) <= $2::int then o.result end as result,
     coalesce(octet_length(o.result) > $2::int, false) as result_omitted
   from {schema}.execution e left join {schema}.outcome o on o.execution = e.id
   where e.id = any ($1::uuid[])`,
);

const readState = statement(
  'log.states',
  'select u.id, {schema}.state_of(u.id) as state from unnest($1::uuid[]) u (id)',
);

interface DetailRow {
  id: string;
  namespace: number;
  class: number;
  flow: string | null;
  tags: Record<string, string>;
  redrive_of: string | null;
  created_at: Date;
  state: number | null;
  reason: number | null;
  ended_at: Date;
  attempt: number;
  token: bigint | null;
  failure_class: number | null;
  failure_code: string | null;
  message: string | null;
  result_type: string | null;
  started_at: Date | null;
  letter: string | null;
  result: Buffer | null;
  result_omitted: boolean;
}

export interface ExecutionOutcome {
  readonly state: number;
  /** Null for success. */
  readonly reason: number | null;
  readonly endedAt: Date;
  /** The ending attempt; 0 when it never ran. */
  readonly attempt: number;
  readonly token: bigint | null;
  readonly failureClass: number | null;
  readonly failureCode: string | null;
  /** Of the failure; without a failure class, the text given with a cancellation. */
  readonly message: string | null;
  readonly resultType: string | null;
  readonly result: Buffer | null;
  /** There is a result, but it is over the limit. */
  readonly resultOmitted: boolean;
  /** The first attempt's start. */
  readonly startedAt: Date | null;
  /** The dead letter opened or reopened with it. */
  readonly letter: string | null;
}

export interface ExecutionDetail {
  readonly id: string;
  readonly namespace: number;
  readonly class: number;
  readonly flow: string | null;
  readonly tags: Readonly<Record<string, string>>;
  /** The run before it. */
  readonly redriveOf: string | null;
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
    redriveOf: row.redrive_of,
    createdAt: row.created_at,
    outcome: row.state === null ? undefined : outcomeOf(row, row.state),
  }));
}

/** Present states by id; what does not exist is missing. One snapshot, so nobody is caught between two phases. */
export async function readStates(runner: Runner, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rows = await runner.query<{ id: string; state: number | null }>(readState, [ids]);
  return new Map(rows.flatMap(({ id, state }) => (state === null ? [] : [[id, state] as const])));
}

function outcomeOf(row: DetailRow, state: number): ExecutionOutcome {
  return {
    state,
    reason: row.reason,
    endedAt: row.ended_at,
    attempt: row.attempt,
    token: row.token,
    failureClass: row.failure_class,
    failureCode: row.failure_code,
    message: row.message,
    resultType: row.result_type,
    result: row.result,
    resultOmitted: row.result_omitted,
    startedAt: row.started_at,
    letter: row.letter,
  };
}
