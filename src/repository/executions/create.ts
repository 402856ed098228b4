/** Creates executions, each on its own or all or none: one function call, one transaction. */

import { byteaArray, int2Array, int4Array, int8Array, sparse, textArray, uuidArray } from '../binary-arrays.js';
import { type Content, packContents } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { storedTrace, type Trace } from './trace.js';

const create = statement(
  'executions.create',
  `select ord, verdict, execution, state from {schema}.create_executions($1, $2::uuid[], $3::int[], $4::int[], $5::text[],
     $6::bytea[], $7::smallint[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::timestamptz[], $12::bigint[],
     $13::int[], $14::bigint[], $15::real[], $16::bigint[], $17::int[], $18::boolean[], $19::jsonb[], $20::text[],
     $21::int[], $22::int[], $23::bytea, $24::uuid[], $25::uuid[], $26::uuid[], $27::uuid[], $28::boolean[], $29::uuid[],
     $30::uuid[], $31, $32, $33::text[], $34::text[], $35::smallint[], $36::jsonb[], $37::int[], $38::text[])`,
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
  /** Where in its caller's trace it belongs. Absent: nowhere, or where the run before did. */
  readonly trace?: Trace | null;
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
      // Never sparse: the function counts the items by them.
      textArray(column((item) => item.requestId)),
      byteaArray(column((item) => item.hash)),
      int2Array(column((item) => item.priority)),
      sparse(column((item) => item.runAt)),
      sparse(
        column((item) => item.delayMs),
        int8Array,
      ),
      sparse(
        column((item) => item.ttlMs),
        int8Array,
      ),
      sparse(column((item) => item.deadline)),
      sparse(
        column((item) => item.timeoutMs),
        int8Array,
      ),
      sparse(
        column((item) => item.retry.maxAttempts),
        int4Array,
      ),
      sparse(
        column((item) => item.retry.initialMs),
        int8Array,
      ),
      sparse(column((item) => item.retry.factor)),
      sparse(
        column((item) => item.retry.capMs),
        int8Array,
      ),
      sparse(
        column((item) => item.retry.maxReclaims),
        int4Array,
      ),
      sparse(column((item) => item.retry.countLost)),
      column((item) => JSON.stringify(item.tags)),
      sparse(input.types, textArray),
      sparse(input.positions, int4Array),
      sparse(input.lengths, int4Array),
      input.bytes,
      sparse(
        column((item) => item.redrive?.letter ?? null),
        uuidArray,
      ),
      sparse(
        column((item) => item.redrive?.root ?? null),
        uuidArray,
      ),
      sparse(
        column((item) => item.redrive?.of ?? null),
        uuidArray,
      ),
      ...graphColumns(items, joins),
      entered,
      maxMembers,
      sparse(
        column((item) => item.concurrencyKey),
        textArray,
      ),
      ...reactionColumns(items),
    ]);
  } catch (error) {
    const refused = atomicRefusal(error);
    if (refused) return refused;
    throw error;
  }
}

function graphColumns(items: readonly NewExecution[], joins: ReadonlyMap<string, string> | undefined): unknown[] {
  return [
    sparse(
      items.map((item) => item.flow?.id ?? null),
      uuidArray,
    ),
    sparse(items.map((item) => item.flow?.optional ?? null)),
    sparse(
      items.map((item) => item.parent),
      uuidArray,
    ),
    joins && joins.size > 0 ? uuidArray(items.map((item) => joins.get(item.id) ?? null)) : null,
  ];
}

function reactionColumns(items: readonly NewExecution[]): unknown[] {
  return [
    sparse(
      items.map((item) => item.orderingKey ?? null),
      textArray,
    ),
    sparse(items.map((item) => (item.orderingKey ? (item.deadHead ?? null) : null))),
    sparse(items.map(({ failureEvents: events = null }) => (events === null ? null : JSON.stringify(events)))),
    sparse(
      items.map((item) => item.hops ?? null),
      int4Array,
    ),
    sparse(
      items.map(({ trace }) => (trace ? storedTrace(trace) : null)),
      textArray,
    ),
  ];
}

/** With `atomic`, a refusal rolls back, and the answers travel in the error. */
function atomicRefusal(error: unknown): CreationAnswer[] | undefined {
  const { code, detail } = error as { code?: string; detail?: string };
  if (code !== 'TR001' || detail === undefined) return undefined;
  return JSON.parse(detail) as CreationAnswer[];
}
