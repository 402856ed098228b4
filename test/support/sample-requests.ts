/**
 * For every RPC that is built a valid request about an estate, with each field set that can be.
 *
 * Tests walk the descriptors: an RPC that is built and has no request here fails them.
 */
import type { DescMethod } from '@bufbuild/protobuf';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CompletionService, FlowMilestone } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { ClaimNextMode, EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { EdgeDirection, FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { FrameMode } from '../../gen/tailrace/v1/frame_pb.js';
import { JoinKind, JoinState } from '../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { WorkerState } from '../../gen/tailrace/v1/worker_pb.js';
import { consumerSamples } from './consumer-samples.js';
import { DAY, type Estate, HOUR, instant, seconds, text } from './estate.js';
import { emittedEvent, eventSamples, failureEvents } from './event-samples.js';
import { cancelPolicy, flowSamples } from './flow-samples.js';
import { letterSamples } from './letter-samples.js';
import { namespaceSamples } from './namespace-samples.js';
import { retentionSamples } from './retention-samples.js';
import { type SampleRequest, sample } from './sample.js';
import { tokenSamples } from './token-samples.js';
import { waitSamples } from './wait-samples.js';

export const SERVICES = [EngineService, CompletionService, DeadLetterService, AdminService] as const;
export const METHODS: readonly DescMethod[] = SERVICES.flatMap(({ methods }) => methods);

/** `EngineService/CreateExecutions`. */
export function nameOf(method: DescMethod): string {
  return `${method.parent.name}/${method.name}`;
}

/** By the names of the RPCs. Each is new, so a test may change it. */
export function requestsTo(estate: Estate): ReadonlyMap<string, SampleRequest> {
  const { namespace, lane, type, worker, queued, scheduled, held: lease, flow, mark } = estate;
  const tags = { secret: estate.secret };
  const page = { pageSize: 10 };
  const created = { minCreateTime: instant(Date.now() - DAY), maxCreateTime: instant(Date.now() + DAY) };
  const retryPolicy = {
    maxAttempts: 7,
    initialBackoff: seconds(2),
    backoffFactor: 3,
    maxBackoff: seconds(60),
    maxReclaims: 4,
    countLostLeases: true,
  };
  const claimer = {
    worker,
    lanes: [{ lane: `nothing-${lane}`, weight: 2 }],
    types: [type],
    capabilities: ['gpu'],
    maxExecutions: 3,
    leaseDuration: seconds(30),
  };
  const completions = { lanes: [lane], types: [type], tags };
  const entries = {
    ...completions,
    executionId: queued,
    eventTypes: [estate.event.type],
    streams: [estate.event.stream],
  };
  const spec = {
    lane,
    type,
    input: text('hello'),
    priority: 5,
    runTime: instant(Date.now() + HOUR),
    ttl: seconds(600),
    deadlineTime: instant(Date.now() + DAY),
    attemptTimeout: seconds(60),
    retryPolicy,
    tags: { team: 'a' },
    requiredCapabilities: ['gpu'],
    concurrencyKey: `key-${mark}`,
    optionalInFlow: true,
    failureEvents,
    traceContext: { traceparent: `00-${'4'.repeat(32)}-${'7'.repeat(16)}-01`, tracestate: 'vendor=value' },
  };
  const flows = flowSamples(estate, spec);
  const engine = EngineService.method;
  const completion = CompletionService.method;
  const admin = AdminService.method;
  const samples = [
    sample(engine.createExecutions, {
      namespace,
      atomic: true,
      executions: [{ ...spec, requestId: `new-${mark}`, flowId: flow.id }],
    }),
    sample(engine.cancelExecution, {
      namespace,
      requestId: `cancel-${mark}`,
      executionId: lease.executionId,
      reason: 'enough',
      policy: cancelPolicy,
      wait: seconds(0),
      lease,
    }),
    sample(engine.claimExecutions, { namespace, ...claimer, wait: seconds(0), startWithin: seconds(5) }),
    sample(engine.claimExecution, {
      namespace,
      executionId: queued,
      worker,
      capabilities: ['gpu'],
      leaseDuration: seconds(30),
      startWithin: seconds(5),
    }),
    sample(engine.renewLeases, {
      namespace,
      renewals: [{ lease, leaseDuration: seconds(1_800), progress: { percent: 50, message: 'half' } }],
    }),
    sample(engine.releaseLeases, { namespace, leases: [lease], reason: 'later' }),
    sample(engine.completeExecutions, {
      namespace,
      completions: [
        {
          lease,
          result: text('done'),
          events: [emittedEvent],
          children: [spec],
          frames: [{ mode: FrameMode.DURABLE, type: 'token', payload: text('word') }],
        },
      ],
      claimNext: { mode: ClaimNextMode.ANY, ...claimer },
    }),
    sample(engine.failExecutions, {
      namespace,
      reports: [
        {
          lease,
          failure: { failureClass: FailureClass.TRANSIENT, message: 'it broke', code: 'Broken', details: text('why') },
          retryTime: instant(Date.now() + HOUR),
          failureEvents: [emittedEvent],
        },
      ],
    }),
    sample(engine.delayExecution, { namespace, lease, runTime: instant(Date.now() + HOUR), reason: 'later' }),
    sample(engine.reportProgress, { namespace, lease, progress: { percent: 50, message: 'half' } }),
    sample(engine.heartbeatWorker, {
      namespace,
      worker,
      lanes: [lane],
      types: [type],
      capabilities: ['gpu'],
      maxConcurrency: 4,
      labels: { team: 'a' },
    }),
    sample(engine.unregisterWorker, { namespace, worker }),
    sample(engine.createFlow, flows.create),
    sample(engine.extendFlow, flows.extend),
    sample(engine.sealFlow, { namespace, flowId: flow.id }),
    sample(engine.cancelFlow, flows.cancel),
    sample(engine.waitForChildren, flows.waitForChildren),
    sample(completion.watchCompletions, {
      namespace,
      filter: { ...completions, outcomes: [ExecutionState.SUCCEEDED] },
      omitResults: true,
    }),
    sample(completion.watchLog, {
      namespace,
      filter: { ...entries, kinds: [LogEntryKind.EXECUTION_CREATED] },
      omitPayloads: true,
    }),
    sample(completion.awaitExecutions, { namespace, executionIds: [queued], timeout: seconds(0), omitResults: true }),
    sample(completion.awaitFlow, { namespace, flowId: flow.id, until: FlowMilestone.SETTLED, timeout: seconds(0) }),
    sample(completion.watchFlow, { namespace, flowId: flow.id, omitPayloads: true }),
    ...letterSamples(estate, { page, created }),
    sample(admin.getExecution, { namespace, executionId: queued }),
    sample(admin.listExecutions, {
      namespace,
      filter: {
        ...{ states: [ExecutionState.QUEUED], lanes: [lane], types: [type], tags },
        ...{ workerName: worker.name, workerInstanceId: worker.instanceId, ...created },
        minEndTime: created.minCreateTime,
        maxEndTime: created.maxCreateTime,
        flowId: flow.id,
        parentExecutionId: queued,
        subscription: estate.subscription,
      },
      ...page,
      includePayloads: true,
    }),
    sample(admin.listAttempts, {
      namespace,
      executionId: estate.succeeded,
      flowId: flow.id,
      lane,
      type,
      minStartTime: created.minCreateTime,
      maxStartTime: created.maxCreateTime,
      ...page,
    }),
    sample(admin.explainExecution, { namespace, executionId: queued }),
    sample(admin.getLane, { namespace, lane }),
    sample(admin.listLanes, { namespace, ...page }),
    sample(admin.updateLane, {
      namespace,
      lane,
      settings: {
        concurrencyLimit: 100,
        rateLimit: { limit: 100, window: seconds(60) },
        defaultKeyLimit: 10,
        keyLimits: [{ key: 'a', limit: 5, weight: 2 }],
        agingInterval: seconds(60),
        retryPolicy,
        attemptTimeout: seconds(60),
        ttl: seconds(600),
      },
      updateMask: { paths: ['ttl', 'retry_policy.max_attempts'] },
      expectedVersion: 0n,
      reason: 'faster',
    }),
    sample(admin.pauseLane, { namespace, lane, reason: 'stop', expectedVersion: 0n }),
    sample(admin.resumeLane, { namespace, lane, reason: 'go', expectedVersion: 0n }),
    sample(admin.listWorkers, { namespace, workerName: worker.name, states: [WorkerState.ACTIVE], lane, ...page }),
    sample(admin.drainWorker, { namespace, worker, undo: true, reason: 'no' }),
    sample(admin.revokeLease, {
      namespace,
      executionId: lease.executionId,
      fencingToken: lease.fencingToken,
      reason: 'stuck',
    }),
    sample(admin.changeExecution, {
      namespace,
      executionId: scheduled,
      priority: 9,
      runTime: instant(Date.now() + HOUR),
      reason: 'sooner',
    }),
    sample(admin.listLogEntries, {
      namespace,
      filter: { ...entries, kinds: [LogEntryKind.EXECUTION_CREATED] },
      oldestFirst: true,
      ...page,
      ...created,
    }),
    sample(admin.getFlow, { namespace, flowId: flow.id }),
    sample(admin.listFlows, {
      namespace,
      states: [FlowState.ACTIVE],
      name: `flow-${mark}`,
      tags,
      ...created,
      ...page,
    }),
    sample(admin.listFlowMembers, { namespace, flowId: flow.id, states: [ExecutionState.QUEUED], ...page }),
    sample(admin.listEdges, { namespace, executionId: flow.upstream, direction: EdgeDirection.DOWNSTREAM, ...page }),
    sample(admin.listJoins, {
      namespace,
      flowId: flow.id,
      executionId: flow.downstream,
      subscription: estate.subscription,
      states: [JoinState.OPEN],
      kinds: [JoinKind.EDGES],
      ...page,
    }),
    sample(admin.getFlowTree, { namespace, flowId: flow.id, rootNodeId: flow.upstream, maxDepth: 2, ...page }),
    sample(admin.listFailedFlows, {
      namespace,
      minFailureTime: created.minCreateTime,
      maxFailureTime: created.maxCreateTime,
      tags,
      ...page,
    }),
    sample(admin.getStats, { namespace, includeLanes: true }),
    sample(admin.getServerInfo, { namespace }),
    ...consumerSamples(estate),
    ...namespaceSamples(estate),
    ...retentionSamples(estate),
    ...tokenSamples(estate),
    ...waitSamples(estate),
    ...eventSamples(estate, retryPolicy),
  ];
  return new Map(samples.map((one) => [nameOf(one.method), one]));
}
