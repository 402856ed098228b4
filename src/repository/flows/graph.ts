/** What a call adds to a flow's graph, with names already resolved to execution ids. */
import { int4Array, textArray, uuidArray } from '../binary-arrays.js';

export interface NewSlot {
  /** The execution that fills it. */
  readonly upstream: string;
  /** Under which its result is handed on. */
  readonly name: string;
  readonly optional: boolean;
  /** Null: the upstream itself. */
  readonly source: string | null;
}

/** Null fields of a policy were not asked for. */
export interface NewJoinPolicy {
  /** JoinMode: 1 all, 2 any, 3 quorum. */
  readonly mode: number;
  /** 0 unless the mode is quorum. */
  readonly quorum: number;
  readonly distinctSources: boolean;
  readonly cancelRest: boolean;
  /** OnJoinTimeout: 1 fail, 2 release partial. */
  readonly onTimeout: number;
  readonly timeoutMs: number | null;
}

/** A join of a new execution, or slots for the join of one that exists. */
export interface NewJoin {
  /** UUIDv7, of the join to make. Not used when the downstream has an open one. */
  readonly id: string;
  readonly downstream: string;
  /** Null: that of the open join the downstream has, else all. */
  readonly policy: NewJoinPolicy | null;
  /** No slot can be added by later calls. */
  readonly sealed: boolean;
  /** Edges on the longest path to the downstream. */
  readonly depth: number;
  readonly slots: readonly NewSlot[];
}

export const DEFAULT_POLICY: NewJoinPolicy = {
  mode: 1,
  quorum: 0,
  distinctSources: false,
  cancelRest: false,
  onTimeout: 1,
  timeoutMs: null,
};

/** As the parameters of SQL: joins as JSON, for they are few per call, slots in columns, for they may be many. */
export function joinParameters(joins: readonly NewJoin[]): unknown[] {
  const slots = joins.flatMap(({ id, downstream, slots: own }) =>
    own.map((slot, idx) => ({ ...slot, id, downstream, idx })),
  );
  return [
    JSON.stringify(
      joins.map(({ id, downstream, policy, sealed, depth, slots: own }) => ({
        id,
        downstream,
        sealed,
        depth,
        slots: own.length,
        given: policy !== null,
        mode: policy?.mode ?? DEFAULT_POLICY.mode,
        quorum: policy?.quorum ?? 0,
        distinct_sources: policy?.distinctSources ?? false,
        cancel_rest: policy?.cancelRest ?? false,
        on_timeout: policy?.onTimeout ?? DEFAULT_POLICY.onTimeout,
        timeout_ms: policy?.timeoutMs ?? null,
      })),
    ),
    uuidArray(slots.map((slot) => slot.id)),
    int4Array(slots.map((slot) => slot.idx)),
    uuidArray(slots.map((slot) => slot.upstream)),
    uuidArray(slots.map((slot) => slot.downstream)),
    textArray(slots.map((slot) => slot.name)),
    slots.map((slot) => slot.optional),
    textArray(slots.map((slot) => slot.source)),
  ];
}
