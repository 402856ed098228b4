/** Takes claimable executions out of their lines and opens an attempt on each. */
import type { Runner } from '../database.js';
import type { Trace } from '../executions/index.js';
import { statement } from '../statement.js';
import { TRACES, withTraces } from './traces.js';

const claim = statement(
  'claims.claim',
  `select x.retry_ms, ${TRACES}, (x.claim).* from {schema}.claim($1::int[], $2::int[], $3::real[], $4::smallint[], $5::bigint[], $6::smallint[], $7, $8, $9,
     $10, $11, $12, $13) with ordinality x (retry_ms, claim, n)`,
);

/** Inputs in one answer: gRPC clients refuse messages over 4 MiB unless they are told otherwise. */
export const ANSWER_BYTES = 3 * 1024 * 1024;

/** A stretch of one class's line, in the negated priorities of the index: [from, to). */
export interface Segment {
  readonly class: number;
  readonly lane: number;
  /** Share of the lane among those that have work. */
  readonly weight: number;
  readonly fromPriority: number;
  readonly fromSeq: bigint;
  readonly toPriority: number;
}

export interface Holder {
  readonly namespace: number;
  /** Random per process. */
  readonly instance: string;
  readonly name: string;
  readonly leaseMs: number;
  /** A lease not used within this time goes back without counting. Null: no such limit. */
  readonly beginMs: number | null;
}

/** What a worker needs to run one attempt. */
export interface Granted {
  readonly execution: string;
  readonly lease: string;
  readonly token: bigint;
  /** Place in its line, for the lower bound. */
  readonly seq: bigint;
  readonly class: number;
  readonly priority: number;
  readonly attempt: number;
  readonly kind: number;
  readonly ready_at: Date;
  readonly started_at: Date;
  readonly expires_at: Date;
  readonly timeout_at: Date | null;
  readonly deadline: Date | null;
  readonly input_type: string | null;
  readonly input: Buffer | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly created_at: Date;
  readonly root: string;
  readonly redrive_of: string | null;
  readonly failures: number;
  readonly retry_max: number | null;
  readonly previous_class: number | null;
  readonly previous_code: string | null;
  readonly previous_message: string | null;
  readonly flow: string | null;
  readonly parent: string | null;
  /** It goes on with an attempt that was parked: since when, and how often it was by now. */
  readonly resume: boolean;
  readonly parked_at: Date | null;
  readonly waits: number;
  /** What ended the wait (ResumeCause), and when. */
  readonly resume_cause: number | null;
  readonly released_at: Date | null;
  /** The join whose slots are handed over with it; whether it is that of its attempt's children. */
  readonly joined: string | null;
  readonly joins_children: boolean;
  readonly concurrency_key: string | null;
  readonly ordering_key: string | null;
  readonly hops: number;
  /** What it reacts to; its input is that event's payload while it has none of its own. */
  readonly subscription: number | null;
  readonly subscription_version: bigint | null;
  readonly event: string | null;
  /** The slot it owns. */
  readonly batch: string | null;
  readonly batch_index: number | null;
  readonly batch_size: number | null;
  /** What it was created with. */
  readonly trace?: Trace;
}

export interface Claimed {
  readonly granted: Granted[];
  /** Nothing was granted, and it is worth asking again after so long: a limit may have room then, or a lock is gone. */
  readonly retryMs: number | undefined;
}

/**
 * In order of their tokens; fewer than asked for when their inputs would make the answer too large. Empty does not prove
 * that nothing is there: all heads may be locked by others.
 */
export async function claimExecutions(
  runner: Runner,
  segments: readonly Segment[],
  limit: number,
  holder: Holder,
): Promise<Claimed> {
  const rows = await runner.query<Granted & { readonly retry_ms: number | null; readonly traces: string | null }>(
    claim,
    [
      segments.map((segment) => segment.class),
      segments.map((segment) => segment.lane),
      segments.map((segment) => segment.weight),
      segments.map((segment) => segment.fromPriority),
      segments.map((segment) => segment.fromSeq),
      segments.map((segment) => segment.toPriority),
      limit,
      ANSWER_BYTES,
      holder.namespace,
      holder.instance,
      holder.name,
      holder.leaseMs,
      holder.beginMs,
    ],
  );
  const [first] = rows;
  const isEmpty = first === undefined || first.execution === null;
  return {
    granted: isEmpty ? [] : withTraces(rows, first.traces),
    retryMs: isEmpty ? (first?.retry_ms ?? undefined) : undefined,
  };
}
