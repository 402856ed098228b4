/** How changes of a flow are answered. */

/** Classes that got claimable work, and whether something is left to follow (see AfterCommit). */
export interface Consequences {
  readonly woken: readonly number[];
  readonly follows: boolean;
}

/**
 * missing: the flow is not there. sealed, canceled: nothing can be added. conflict: another revision than expected.
 * moved: the graph changed since it was read; read it and ask again. reused: the request id belongs to other content.
 * closed: a lane takes no new work. unknown: an execution named as a member is none. late: a downstream has started, or
 * its join takes no more slots. no_join: a join to seal is not there. unreachable: a quorum above the number of slots.
 * wide: more slots than a join may have. full: more members than a flow may have. taken: a client-made execution id
 * exists. empty: sealing would end a flow that never had a member. lost: the lease that was shown is not held.
 */
export type FlowRefusal =
  | 'missing'
  | 'sealed'
  | 'canceled'
  | 'conflict'
  | 'moved'
  | 'reused'
  | 'closed'
  | 'unknown'
  | 'late'
  | 'no_join'
  | 'unreachable'
  | 'wide'
  | 'full'
  | 'taken'
  | 'empty'
  | 'lost';

export interface RefusedFlow {
  readonly verdict: FlowRefusal;
  /** What the verdict is about: a flow, an execution, a downstream. */
  readonly subject: string | null;
  readonly revision: bigint | null;
}

export interface ChangedFlow extends Consequences {
  readonly verdict: 'done' | 'duplicate';
  readonly flow: string;
  readonly revision: bigint;
  /** FlowState. */
  readonly state: number;
  /** Execution ids by local name: of the first call, for a duplicate. */
  readonly members: Readonly<Record<string, string>>;
}

export type FlowAnswer = ChangedFlow | RefusedFlow;

export function isRefusedFlow(answer: FlowAnswer): answer is RefusedFlow {
  return answer.verdict !== 'done' && answer.verdict !== 'duplicate';
}
