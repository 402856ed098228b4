/** Sample requests about waits, limits, budgets and output. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { FrameMode } from '../../gen/tailrace/v1/frame_pb.js';
import {
  type ConditionSchema,
  CountDistinct,
  SignalSource,
  SuspensionReason,
  SuspensionTimeoutBehavior,
  WaitpointState,
} from '../../gen/tailrace/v1/signal_pb.js';
import { DAY, type Estate, instant, seconds, text } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

type ConditionInit = MessageInitShape<typeof ConditionSchema>;

export function waitSamples(estate: Estate): SampleRequest[] {
  return [...suspensionSamples(estate), ...outputSamples(estate), ...limitSamples(estate)];
}

function suspensionSamples(estate: Estate): SampleRequest[] {
  const { namespace, lane, type, mark, held: lease, suspended, flow } = estate;
  const { method } = EngineService;
  const page = { pageSize: 10 };
  const waitpointKey = `new-${mark}`;
  const signal = { name: 'go', waitpointKey };
  const suspending = (condition: ConditionInit) => ({
    ...{ namespace, lease, condition },
    waitpoints: [{ key: waitpointKey, expiry: seconds(3_600) }],
  });
  const waiting = {
    reason: SuspensionReason.APPROVAL,
    timeout: seconds(3_600),
    timeoutBehavior: SuspensionTimeoutBehavior.EXPIRE,
    resumeDelay: seconds(1),
    note: 'may it?',
    idempotencyKey: `suspend-${mark}`,
  };
  const counted = { count: 1, distinct: CountDistinct.WAITPOINTS, among: [signal] };
  const signaling = {
    name: 'went',
    source: SignalSource.HUMAN,
    sourceId: 'ann',
    payload: text('yes'),
    idempotencyKey: `signal-${mark}`,
  };
  const target = { executionId: suspended, waitpointKey: estate.waitpoint.key };
  return [
    sample(
      method.suspendExecution,
      {
        ...suspending({
          condition: { case: 'allOf', value: { members: [{ condition: { case: 'signal', value: signal } }] } },
        }),
        ...waiting,
      },
      suspending({ condition: { case: 'signal', value: signal } }),
      suspending({ condition: { case: 'count', value: counted } }),
      suspending({ condition: { case: 'operatorOnly', value: {} } }),
      { ...suspending({ condition: { case: 'timeoutOnly', value: {} } }), timeout: seconds(60) },
    ),
    sample(method.createWaitpoint, {
      namespace,
      lease,
      waitpoint: { key: `another-${mark}`, expiry: seconds(3_600) },
    }),
    sample(
      method.signalExecution,
      { namespace, target: { case: 'execution', value: target }, ...signaling },
      { namespace, target: { case: 'waitpointToken', value: estate.waitpoint.token }, ...signaling },
    ),
    sample(method.listMatchedSignals, { namespace, lease: estate.resumed, suspensionNumber: 1, ...page }),
    sample(AdminService.method.listSuspendedExecutions, {
      namespace,
      reasons: [SuspensionReason.APPROVAL],
      escalatedOnly: true,
      lanes: [lane],
      types: [type],
      flowId: flow.id,
      maxSuspendTime: instant(Date.now() + DAY),
      ...page,
    }),
    sample(AdminService.method.listPendingWaitpoints, {
      namespace,
      executionId: suspended,
      states: [WaitpointState.PENDING],
      ...page,
    }),
    sample(AdminService.method.resumeExecution, {
      namespace,
      executionId: suspended,
      suspensionNumber: 1,
      signalName: 'approved',
      payload: text('yes'),
      actor: 'me',
      note: 'fine',
    }),
    sample(AdminService.method.rotateWaitpointSecret, { namespace, grace: seconds(3_600), reason: 'it is time' }),
  ];
}

function outputSamples({ namespace, resumed: lease }: Estate): SampleRequest[] {
  const { executionId } = lease;
  const attempt = { namespace, executionId, attemptNumber: 1 };
  return [
    sample(EngineService.method.appendFrames, {
      namespace,
      lease,
      frames: [{ mode: FrameMode.DURABLE, type: 'token', payload: text('word') }],
      expectedCount: 2n,
    }),
    sample(CompletionService.method.readFrames, { ...attempt, modes: [FrameMode.DURABLE], pageSize: 10 }),
    sample(CompletionService.method.tailFrames, { ...attempt, modes: [FrameMode.DURABLE] }),
    sample(CompletionService.method.getFrameSummary, attempt),
  ];
}

function limitSamples({ namespace, lane, mark, budget, resumed: lease }: Estate): SampleRequest[] {
  const { method } = AdminService;
  const page = { pageSize: 10 };
  const attachment = { subject: { case: 'lane' as const, value: lane } };
  const usage = { coins: 1n };
  return [
    sample(EngineService.method.reportUsage, { namespace, lease, usage, idempotencyKey: `report-${mark}` }),
    sample(EngineService.method.releaseUsage, {
      namespace,
      executionId: lease.executionId,
      usage,
      idempotencyKey: `release-${mark}`,
      lease,
    }),
    sample(method.putBudget, {
      namespace,
      budget: {
        name: budget,
        limits: { coins: { hardLimit: 1_000n, softLimit: 500n } },
        attachments: [attachment],
        resetWindow: seconds(3_600),
        windowStartTime: instant(Date.now() - DAY),
        breachPolicy: BudgetBreachPolicy.SUSPEND,
      },
      expectedVersion: 0n,
    }),
    sample(method.resetBudget, {
      namespace,
      budget,
      dimensions: ['coins'],
      expectedVersion: 0n,
      reason: 'a new month',
    }),
    sample(method.getBudget, { namespace, budget }),
    sample(method.listBudgets, { namespace, exhaustedOnly: true, attachment, ...page }),
    sample(method.putQuota, {
      namespace,
      lane,
      concurrencyLimit: 10,
      rateLimit: { limit: 100, window: seconds(60) },
    }),
    sample(method.listQuotas, { namespace, ...page }),
  ];
}
