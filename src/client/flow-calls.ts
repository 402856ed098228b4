/** The requests behind a client's calls about flows. Each carries a request id, so that a lost answer is asked for again. */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type {
  CancelFlowRequestSchema,
  CreateFlowRequestSchema,
  ExtendFlowRequestSchema,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import { FlowCancelScope, FlowFailurePolicy, type FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { LeaseRef } from '../../gen/tailrace/v1/lease_pb.js';
import { type CancelRules, toCancelPolicy } from './cancel-policy.js';
import type { Flow, FlowOptions } from './flow.js';

export interface ExtendedFlow<Made extends string> {
  /** The execution id of every member made by the call, by its local name. */
  readonly ids: Readonly<Record<Made, string>>;
  /** Number of the last change to its graph. */
  readonly revision: bigint;
  readonly state: FlowState;
  /** Whether an earlier call had done it. */
  readonly duplicate: boolean;
}

export interface CreatedFlow<Made extends string> extends ExtendedFlow<Made> {
  readonly flowId: string;
}

export interface ExtendOptions<Name extends string = string> {
  /** Makes a repeat answer the first extension. 1 to 200 bytes. Default: a random one. */
  readonly requestId?: string;
  /** The revision the caller saw; refused with REVISION_CONFLICT if the flow has changed since. Default: any. */
  readonly expectedRevision?: bigint;
  /** Members whose open joins take no further edges after this call. */
  readonly sealJoins?: readonly Name[];
  /** Seals the flow with this call. Default false. */
  readonly seal?: boolean;
  /** The lease of a running member that extends its own flow, `ctx.claim.lease`; fences the call. */
  readonly lease?: Pick<LeaseRef, 'executionId' | 'leaseId' | 'fencingToken'> | undefined;
}

export interface FlowCancelOptions extends CancelRules {
  /** For people, up to 1 KiB. */
  readonly reason?: string;
  /** `all` (default), or `pending_only`: those that run may end as they will. */
  readonly scope?: 'all' | 'pending_only';
  /** How long to wait for all of them to end. Milliseconds, 0 (default) to 60,000. */
  readonly waitMs?: number;
}

export function creationOf<Made extends string>(
  flow: Flow<Made>,
  namespace: string,
): MessageInitShape<typeof CreateFlowRequestSchema> {
  return { namespace, flow: toFlowSpec(flow.options ?? {}), ...flow.graph };
}

/** Throws for a flow with options: it is not made by this call, which could not apply them. */
export function extensionOf<Made extends string, Existing extends string>(
  flowId: string,
  added: Flow<Made, Existing>,
  options: ExtendOptions<Made | Existing>,
  namespace: string,
): MessageInitShape<typeof ExtendFlowRequestSchema> {
  if (added.options) throw new TypeError('a flow is extended by an extension(), which has no options of a flow');
  const { requestId = randomUUID(), expectedRevision = 0n, sealJoins = [], seal = false, lease } = options;
  return {
    namespace,
    requestId,
    flowId,
    expectedRevision,
    ...added.graph,
    sealJoins: sealJoins.map((name) => added.ref(name)),
    seal,
    ...(lease && { lease: refOf(lease) }),
  };
}

/** Without any rule for running members the flow's own policy holds. */
export function cancellationOf(
  flowId: string,
  options: FlowCancelOptions,
  namespace: string,
): MessageInitShape<typeof CancelFlowRequestSchema> {
  const { reason = '', scope = 'all', waitMs = 0, ...rules } = options;
  return {
    namespace,
    requestId: randomUUID(),
    flowId,
    reason,
    scope: scope === 'pending_only' ? FlowCancelScope.PENDING_ONLY : FlowCancelScope.ALL,
    wait: durationFromMs(waitMs),
    ...(Object.keys(rules).length > 0 && { policy: toCancelPolicy(rules) }),
  };
}

/** The server answers every local name of the request. */
export function idsOf<Made extends string>(answer: {
  readonly executionIds: Readonly<Record<string, string>>;
}): Readonly<Record<Made, string>> {
  return answer.executionIds as Readonly<Record<Made, string>>;
}

function refOf({ executionId, leaseId, fencingToken }: NonNullable<ExtendOptions['lease']>) {
  return { executionId, leaseId, fencingToken };
}

function toFlowSpec(options: FlowOptions): MessageInitShape<typeof CreateFlowRequestSchema>['flow'] {
  const { requestId = randomUUID(), failurePolicy, cancelPolicy, sealAfterIdleMs } = options;
  return {
    requestId,
    flowId: options.flowId ?? '',
    name: options.name ?? '',
    tags: { ...options.tags },
    open: options.open ?? false,
    failurePolicy: failurePolicy === 'cancel_rest' ? FlowFailurePolicy.CANCEL_REST : FlowFailurePolicy.CONTINUE,
    ...(cancelPolicy && { cancelPolicy: toCancelPolicy(cancelPolicy) }),
    ...(sealAfterIdleMs !== undefined && { sealAfterIdle: durationFromMs(sealAfterIdleMs) }),
  };
}
