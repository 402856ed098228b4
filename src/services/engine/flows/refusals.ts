/** Why a flow was refused, as the contract says it. */
import { EngineError, type FieldViolation } from '../../../domain/errors.js';
import type { Excess } from '../../../domain/flow-graph.js';
import type { KeptOrder, RefusedChildren, RefusedFlow } from '../../../repository/flows/index.js';
import { leaseLost } from '../refusals.js';

/** All violations at once. There is at least one. */
export function invalidFields(violations: readonly FieldViolation[]): EngineError {
  const [first] = violations;
  const others = violations.length === 1 ? '' : ` (and ${violations.length - 1} more)`;
  return new EngineError('INVALID_FIELD', `${first?.field} ${first?.description}${others}`, { violations });
}

export function flowNotFound(flow: string): EngineError {
  return new EngineError('FLOW_NOT_FOUND', `there is no flow ${flow}`, { metadata: { flow_id: flow } });
}

export function flowSealed(flow: string): EngineError {
  return new EngineError('FLOW_SEALED', 'the flow is sealed and takes nothing more', { metadata: { flow_id: flow } });
}

export function flowCanceled(flow: string): EngineError {
  return new EngineError('WRONG_STATE', 'the flow is canceled and takes nothing more', {
    metadata: { flow_id: flow, state: 'CANCELED' },
  });
}

export function flowLimitExceeded(limit: number): EngineError {
  return new EngineError('FLOW_LIMIT_EXCEEDED', `a flow has at most ${limit} members`, {
    metadata: { limit: String(limit) },
  });
}

export function joinLimitExceeded(limit: number, { member, size }: Partial<Excess>): EngineError {
  return new EngineError(
    'JOIN_LIMIT_EXCEEDED',
    `a join has at most ${limit} slots; that of ${member} would have more`,
    {
      metadata: { limit: String(limit), ...(member && { member }), ...(size && { size: String(size) }) },
    },
  );
}

export function depthLimitExceeded(limit: number, { member, size }: Excess): EngineError {
  return new EngineError(
    'DEPTH_LIMIT_EXCEEDED',
    `a path through a flow has at most ${limit} edges; the one to ${member} would have ${size}`,
    { metadata: { limit: String(limit), member, size: String(size) } },
  );
}

/** Who waits for a child keeps its place, and the child would stand behind it for good. */
export function keptOrders(kept: readonly KeptOrder[]): EngineError {
  return invalidFields(
    kept.map(({ child, keeper }) => ({
      field: `children[${child}].execution.ordering_key`,
      description: `must not be that of execution ${keeper}, which keeps the key's place while it waits`,
    })),
  );
}

export function laneClosed(): EngineError {
  return new EngineError('LANE_CLOSED', 'the lane is draining and takes no new work');
}

/** What a call about a flow knows of what it asked for. */
export interface Asked {
  readonly flow: string;
  readonly limits: { readonly members: number; readonly slots: number };
  /** As the caller named it. */
  readonly nameOf: (execution: string) => string;
  /** Where a join that cannot be satisfied was asked for. */
  readonly quorumField: (downstream: string) => string;
}

export function refusalOf({ verdict, subject, revision }: RefusedFlow, asked: Asked): EngineError {
  const { flow, limits } = asked;
  const member = asked.nameOf(subject ?? '');
  switch (verdict) {
    case 'missing':
      return flowNotFound(flow);
    case 'sealed':
      return flowSealed(flow);
    case 'canceled':
      return flowCanceled(flow);
    case 'conflict':
      return new EngineError('REVISION_CONFLICT', 'the flow has changed since', {
        metadata: { flow_id: flow, current_revision: String(revision ?? 0n) },
      });
    case 'moved':
      return new EngineError('CONTENTION', 'others change the graph of this flow at the same time; repeat the call', {
        metadata: { flow_id: flow },
        retryDelayMs: 100,
      });
    case 'reused':
      return new EngineError('REQUEST_ID_REUSED', 'this id was used before, for other content', {
        metadata: { flow_id: subject ?? flow },
      });
    case 'taken':
      return new EngineError('REQUEST_ID_REUSED', 'this id was used before', {
        metadata: subject === flow ? { flow_id: flow } : { execution_id: subject ?? '' },
      });
    case 'closed':
      return laneClosed();
    case 'unknown':
      return new EngineError('EXECUTION_NOT_FOUND', `the flow has no member ${subject}`, {
        metadata: { flow_id: flow, execution_id: subject ?? '' },
      });
    case 'late':
      return new EngineError('EDGE_TOO_LATE', `${member} has started, or its join takes no more`, {
        metadata: { flow_id: flow, execution_id: subject ?? '' },
      });
    case 'no_join':
      return new EngineError('JOIN_NOT_FOUND', `${member} has no open join`, {
        metadata: { flow_id: flow, execution_id: subject ?? '' },
      });
    case 'unreachable':
      return invalidFields([
        { field: asked.quorumField(subject ?? ''), description: 'is above the number of slots of its join' },
      ]);
    case 'wide':
      return joinLimitExceeded(limits.slots, { member });
    case 'full':
      return flowLimitExceeded(limits.members);
    case 'empty':
      return new EngineError('WRONG_STATE', 'the flow never had a member, so it cannot succeed; cancel it instead', {
        metadata: { flow_id: flow },
      });
    case 'lost':
      return leaseLost(subject ?? '', 'stale');
  }
}

/** Why the children of a running execution were not made. */
export function childRefusal({ verdict }: RefusedChildren, parent: string, members: number): EngineError {
  switch (verdict) {
    case 'cancel_requested':
      return new EngineError('WRONG_STATE', 'cancellation was asked for; end the attempt instead of waiting', {
        metadata: { execution_id: parent, state: 'RUNNING' },
      });
    case 'closed':
      return laneClosed();
    case 'canceled':
      return new EngineError('WRONG_STATE', 'its flow is canceled and takes no children', {
        metadata: { execution_id: parent, state: 'RUNNING' },
      });
    case 'full':
      return flowLimitExceeded(members);
  }
}
