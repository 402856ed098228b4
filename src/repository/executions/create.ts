/** Creates executions, each on its own or all or none: one function call, one transaction. */

import { byteaArray, int4Array, int8Array, textArray, uuidArray } from '../binary-arrays.js';
import { type Content, packContents } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const create = statement(
  'executions.create',
  `select ord, verdict, execution, state from {schema}.create_executions($1, $2::uuid[], $3::int[], $4::int[], $5::text[],
     $6::bytea[], $7::smallint[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::timestamptz[], $12::bigint[],
     $13::int[], $14::bigint[], $15::real[], $16::bigint[], $17::int[], $18::boolean[], $19::jsonb[], $20::text[],
     $21::int[], $22::int[], $23::bytea, $24::uuid[], $25::uuid[], $26::uuid[], $27::uuid[], $28::boolean[], $29::uuid[],
     $30::uuid[], $31, $32, $33::text[], $34::text[], $35::smallint[], $36::jsonb[], $37::int[])`,
);

/** Null fields take the engine's default; the lane's were filled in by the caller. */
export interface RetrySettings {
  readonly maxAttempts: number | null;
  readonly initialMs: number | null;
  readonly factor: number | null;
  readonly capMs: number | null;
  readonly maxReclaims: number | null;
  readonly countLost: boolean | null;
}

export interface NewExecution {
  /** UUIDv7. */
  readonly id: string;
  readonly namespace: number;
  readonly class: number;
  readonly requestId: string | null;
  /** Of the content as it was asked for. */
  readonly hash: Buffer;
  readonly priority: number;
  /** Absolute, or as a span from the database's now; both null: at once. */
  readonly runAt: Date | null;
  readonly delayMs: number | null;
  readonly ttlMs: number | null;
  readonly deadline: Date | null;
  readonly timeoutMs: number | null;
  readonly retry: RetrySettings;
  readonly tags: Readonly<Record<string, string>>;
  readonly input: Content | null;
  /** For a redrive: the dead letter, the first run (whose idempotency key it keeps) and the run before. */
  readonly redrive: { readonly letter: string; readonly root: string; readonly of: string } | null;
  /** The flow it joins. A child joins its parent's, whatever is named here. */
  readonly flow: { readonly id: string; readonly optional: boolean } | null;
  /** The execution that spawned it. */
  readonly parent: string | null;
  /** Those of its lane that have the same one share a limit. */
  readonly concurrencyKey: string | null;
  /** Those of its lane that have the same one run one after the other; a redrive has that of the run before. */
  readonly orderingKey?: string | null;
  /** DeadHeadPolicy, with an ordering key. */
  readonly deadHead?: number | null;
  /** To publish when it is given up, as they are stored. Absent: none, or those of the run before. */
  readonly failureEvents?: unknown;
  /** Events behind it. Absent: none, or as many as behind the run before. */
  readonly hops?: number | null;
}

export interface CreationAnswer {
  /**
   * reused: the request id (or execution id) belongs to other content. closed: the lane takes no new work. no_flow,
   * flow_sealed, flow_canceled, flow_full: the flow is not there or takes nothing. busy: the flow was locked by somebody;
   * try again.
   */
  readonly verdict:
    | 'created'
    | 'duplicate'
    | 'reused'
    | 'closed'
    | 'no_flow'
    | 'flow_sealed'
    | 'flow_canceled'
    | 'flow_full'
    | 'busy';
  readonly execution: string;
  readonly state: number;
}

export interface CreationOptions {
  /** All or none. */
  readonly atomic?: boolean;
  /** The join each waits for; nothing for the others. */
  readonly joins?: ReadonlyMap<string, string>;
  /** The caller holds the flows and has looked whether they take more. */
  readonly entered?: boolean;
  /** Members that a flow may have. */
  readonly maxMembers?: number;
}

const UNLIMITED = 2_147_483_647;

/** The answers stand in the order of the items, which are distinct by request id and by execution id. */
export async function createExecutions(
  runner: Runner,
  items: readonly NewExecution[],
  { atomic = false, joins, entered = false, maxMembers = UNLIMITED }: CreationOptions = {},
): Promise<CreationAnswer[]> {
  const input = packContents(items.map((item) => item.input));
  const column = <T>(pick: (item: NewExecution) => T): T[] => items.map(pick);
  try {
    return await runner.query<CreationAnswer>(create, [
      atomic,
      uuidArray(column((item) => item.id)),
      int4Array(column((item) => item.namespace)),
      int4Array(column((item) => item.class)),
      textArray(column((item) => item.requestId)),
      byteaArray(column((item) => item.hash)),
      column((item) => item.priority),
      column((item) => item.runAt),
      int8Array(column((item) => item.delayMs)),
      int8Array(column((item) => item.ttlMs)),
      column((item) => item.deadline),
      int8Array(column((item) => item.timeoutMs)),
      int4Array(column((item) => item.retry.maxAttempts)),
      int8Array(column((item) => item.retry.initialMs)),
      column((item) => item.retry.factor),
      int8Array(column((item) => item.retry.capMs)),
      int4Array(column((item) => item.retry.maxReclaims)),
      column((item) => item.retry.countLost),
      column((item) => JSON.stringify(item.tags)),
      textArray(input.types),
      int4Array(input.positions),
      int4Array(input.lengths),
      input.bytes,
      uuidArray(column((item) => item.redrive?.letter ?? null)),
      uuidArray(column((item) => item.redrive?.root ?? null)),
      uuidArray(column((item) => item.redrive?.of ?? null)),
      ...graphColumns(items, joins),
      entered,
      maxMembers,
      items.some((item) => item.concurrencyKey !== null) ? textArray(column((item) => item.concurrencyKey)) : null,
      ...reactionColumns(items),
    ]);
  } catch (error) {
    const refused = atomicRefusal(error);
    if (refused) return refused;
    throw error;
  }
}

/** Null as a whole where no item has any: what stands outside of flows costs nothing. */
function graphColumns(items: readonly NewExecution[], joins: ReadonlyMap<string, string> | undefined): unknown[] {
  const inFlow = items.some((item) => item.flow !== null);
  const spawned = items.some((item) => item.parent !== null);
  return [
    inFlow ? uuidArray(items.map((item) => item.flow?.id ?? null)) : null,
    inFlow ? items.map((item) => item.flow?.optional ?? false) : null,
    spawned ? uuidArray(items.map((item) => item.parent)) : null,
    joins && joins.size > 0 ? uuidArray(items.map((item) => joins.get(item.id) ?? null)) : null,
  ];
}

function reactionColumns(items: readonly NewExecution[]): unknown[] {
  const ordered = items.some((item) => (item.orderingKey ?? null) !== null);
  const declared = items.some((item) => (item.failureEvents ?? null) !== null);
  const counted = items.some((item) => (item.hops ?? null) !== null);
  return [
    ordered ? textArray(items.map((item) => item.orderingKey ?? null)) : null,
    ordered ? items.map((item) => item.deadHead ?? null) : null,
    declared
      ? items.map(({ failureEvents: events = null }) => (events === null ? null : JSON.stringify(events)))
      : null,
    counted ? int4Array(items.map((item) => item.hops ?? null)) : null,
  ];
}

/** With `atomic`, a refusal rolls back, and the answers travel in the error. */
function atomicRefusal(error: unknown): CreationAnswer[] | undefined {
  const { code, detail } = error as { code?: string; detail?: string };
  if (code !== 'TR001' || detail === undefined) return undefined;
  return JSON.parse(detail) as CreationAnswer[];
}
