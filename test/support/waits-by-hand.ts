/** Suspensions, signals, usage and output, one step at a time. */
import type { Budget, BudgetSpec, Quota } from '../../gen/tailrace/v1/budget_pb.js';
import type {
  AppendFramesRequest,
  AppendFramesResponse,
  ReleaseUsageRequest,
  ReleaseUsageResponse,
  ReportUsageResponse,
  SignalExecutionRequest,
  SignalExecutionResponse,
  SuspendExecutionRequest,
  SuspendExecutionResponse,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Execution } from '../../gen/tailrace/v1/execution_pb.js';
import type { Lane, LaneSettings } from '../../gen/tailrace/v1/lane_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import type { Condition, Signal, Waitpoint, WaitpointSpec } from '../../gen/tailrace/v1/signal_pb.js';
import { type Init, leaseOf, text } from './by-hand.js';
import { FlowsByHand } from './flows-by-hand.js';

/** What a report uses, by dimension. */
export type Usage = Readonly<Record<string, bigint>>;

export const named = (name: string, waitpointKey = ''): Init<Condition> => ({
  condition: { case: 'signal', value: { name, waitpointKey } },
});
export const allOf = (...members: Init<Condition>[]): Init<Condition> => ({
  condition: { case: 'allOf', value: { members } },
});
export const operatorOnly: Init<Condition> = { condition: { case: 'operatorOnly', value: {} } };
export const timeoutOnly: Init<Condition> = { condition: { case: 'timeoutOnly', value: {} } };

export class WaitsByHand extends FlowsByHand {
  /** Waits for a signal `go` unless told otherwise. */
  async suspend(claim: Claim, more: Init<SuspendExecutionRequest> = {}): Promise<SuspendExecutionResponse> {
    return await this.clients.engine.suspendExecution({ lease: leaseOf(claim), condition: named('go'), ...more });
  }

  async waitpoint(claim: Claim, key: string, more: Init<WaitpointSpec> = {}): Promise<Waitpoint> {
    const asked = { lease: leaseOf(claim), waitpoint: { key, ...more } };
    const { waitpoint } = await this.clients.engine.createWaitpoint(asked);
    if (waitpoint === undefined) throw new Error('an answer without a waitpoint');
    return waitpoint;
  }

  /** To the execution itself, or to one of its waitpoints, by authority. */
  async signal(
    executionId: string,
    name = 'go',
    { waitpointKey = '', ...more }: Omit<Init<SignalExecutionRequest>, 'target'> & { waitpointKey?: string } = {},
  ): Promise<SignalExecutionResponse> {
    const target = { case: 'execution' as const, value: { executionId, waitpointKey } };
    return await this.clients.engine.signalExecution({ name, target, ...more });
  }

  /** By nothing but a token. */
  async signalBy(
    waitpointToken: string,
    name = 'go',
    more: Omit<Init<SignalExecutionRequest>, 'target'> = {},
  ): Promise<SignalExecutionResponse> {
    const target = { case: 'waitpointToken' as const, value: waitpointToken };
    return await this.clients.engine.signalExecution({ name, target, ...more });
  }

  /** All that satisfied the last suspension of a resumed attempt, or the one asked for. */
  async matched(claim: Claim, suspensionNumber = 0): Promise<Signal[]> {
    const asked = { lease: leaseOf(claim), suspensionNumber, pageSize: 1_000 };
    return (await this.clients.engine.listMatchedSignals(asked)).signals;
  }

  async report(claim: Claim, usage: Usage, idempotencyKey = ''): Promise<ReportUsageResponse> {
    return await this.clients.engine.reportUsage({ lease: leaseOf(claim), usage: { ...usage }, idempotencyKey });
  }

  async giveBack(
    executionId: string,
    usage: Usage,
    more: Omit<Init<ReleaseUsageRequest>, 'usage'> = {},
  ): Promise<ReleaseUsageResponse> {
    return await this.clients.engine.releaseUsage({ executionId, usage: { ...usage }, ...more });
  }

  /** Durable frames of these texts. */
  async write(claim: Claim, texts: readonly string[], expectedCount?: number): Promise<AppendFramesResponse> {
    return await this.append(claim, {
      frames: texts.map((value) => ({ type: 'text', payload: text(value) })),
      ...(expectedCount !== undefined && { expectedCount: BigInt(expectedCount) }),
    });
  }

  async append(claim: Claim, more: Init<AppendFramesRequest>): Promise<AppendFramesResponse> {
    return await this.clients.engine.appendFrames({ lease: leaseOf(claim), ...more });
  }

  async execution(executionId: string): Promise<Execution> {
    const { execution } = await this.clients.admin.getExecution({ executionId });
    if (execution === undefined) throw new Error(`no execution ${executionId}`);
    return execution;
  }

  async putBudget(budget: Init<BudgetSpec>): Promise<Budget> {
    const answer = await this.clients.admin.putBudget({ budget });
    return there(answer.budget);
  }

  async budget(budget: string): Promise<Budget> {
    return there((await this.clients.admin.getBudget({ budget })).budget);
  }

  /** Of a lane; of the namespace where none is named. */
  async putQuota(lane: string, concurrencyLimit: number): Promise<Quota> {
    return there((await this.clients.admin.putQuota({ lane, concurrencyLimit })).quota);
  }

  async setLane(lane: string, settings: Init<LaneSettings>): Promise<Lane> {
    return there((await this.clients.admin.updateLane({ lane, settings })).lane);
  }
}

function there<T>(answered: T | undefined): T {
  if (answered === undefined) throw new Error('an answer without what was asked for');
  return answered;
}
