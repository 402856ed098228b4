/**
 * What a call means for the load: whether it brings work, finishes work, or waits. A server that has too much to do
 * refuses what brings work first, and last what ends it: a completion that is refused is work done twice.
 */
import type { DescMethod } from '@bufbuild/protobuf';
import { Health } from '../../gen/health/v1/health_pb.js';
import { ServerReflection } from '../../gen/reflection/v1/reflection_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../../gen/reflection/v1alpha/reflection_pb.js';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';

export type Urgency = 'probe' | 'finishes' | 'usual' | 'brings' | 'waits';

const engine = EngineService.method;
const admin = AdminService.method;
const completion = CompletionService.method;
const letters = DeadLetterService.method;

const METHODS: Readonly<Record<Exclude<Urgency, 'usual'>, readonly DescMethod[]>> = {
  /** Never refused: how others learn that this server is in trouble. */
  probe: [Health.method.check, Health.method.list],
  finishes: [
    engine.completeExecutions,
    engine.failExecutions,
    engine.renewLeases,
    engine.releaseLeases,
    engine.delayExecution,
    engine.suspendExecution,
    engine.waitForChildren,
    engine.reportProgress,
    engine.appendFrames,
    engine.reportUsage,
    engine.releaseUsage,
    engine.heartbeatWorker,
    engine.unregisterWorker,
    engine.cancelExecution,
    engine.cancelFlow,
    completion.commitEntries,
    completion.failEntry,
    completion.releaseConsumer,
    letters.stopRedrive,
    admin.pauseLane,
    admin.revokeLease,
    admin.drainWorker,
    // Of one who floods the server.
    admin.revokeToken,
    admin.pauseConsumer,
    admin.getServerInfo,
  ],
  brings: [
    engine.createExecutions,
    engine.createFlow,
    engine.extendFlow,
    engine.publishEvents,
    letters.redriveDeadLetter,
    letters.startRedrive,
  ],
  waits: [
    engine.claimExecutions,
    completion.awaitExecutions,
    completion.awaitFlow,
    completion.awaitConsumer,
    completion.acquireConsumer,
    ServerReflection.method.serverReflectionInfo,
    ServerReflectionAlpha.method.serverReflectionInfo,
    Health.method.watch,
  ],
};

const BY_METHOD = new Map<DescMethod, Urgency>(
  Object.entries(METHODS).flatMap(([urgency, methods]) =>
    methods.map((method) => [method, urgency as Urgency] as const),
  ),
);

/** Every stream waits. */
export function urgencyOf(method: DescMethod): Urgency {
  return BY_METHOD.get(method) ?? (method.methodKind === 'unary' ? 'usual' : 'waits');
}
