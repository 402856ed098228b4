/** What clients and workers do, one step at a time, for tests that decide the order of everything themselves. */
import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import { ConnectError } from '@connectrpc/connect';
import type { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { AwaitedExecution } from '../../gen/tailrace/v1/completion_service_pb.js';
import type {
  CancelExecutionRequest,
  CancelExecutionResponse,
  ClaimExecutionRequest,
  ClaimExecutionsRequest,
  CompletedExecution,
  DelayExecutionRequest,
  DelayExecutionResponse,
  FailedExecution,
  FailureReport,
  LeaseRenewal,
  ReleasedLease,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import { type ErrorDetail, ErrorDetailSchema, type ItemError } from '../../gen/tailrace/v1/error_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import type { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim, LeaseRef, RenewedLease } from '../../gen/tailrace/v1/lease_pb.js';
import type { Clients } from './tailrace.js';

/** Some fields of a request, written plainly. */
export type Init<T extends Message> = Exclude<MessageInitShape<GenMessage<T>>, Message>;

export const seconds = (count: number) => ({
  seconds: BigInt(Math.trunc(count)),
  nanos: Math.round((count % 1) * 1e9),
});

export const text = (value: string) => ({ body: { case: 'text' as const, value } });

/** One item of a batch was refused. */
export class ItemRefused extends Error {
  readonly detail: ErrorDetail | undefined;

  constructor(error: ItemError) {
    super(`${error.detail?.reason}: ${error.message}`);
    this.detail = error.detail;
  }
}

/** The typed detail of the refusal, of a call or of an item; fails the test when there was none. */
export async function refusal(call: Promise<unknown>): Promise<ErrorDetail> {
  const error = await call.then(
    () => new Error('it was not refused'),
    (reason: unknown) => reason,
  );
  if (error instanceof ItemRefused && error.detail) return error.detail;
  const detail = error instanceof ConnectError ? error.findDetails(ErrorDetailSchema)[0] : undefined;
  if (detail === undefined) throw error;
  return detail;
}

/** What a holder shows; the claim itself tells more. */
export function leaseOf({ lease }: Claim): Init<LeaseRef> {
  if (lease === undefined) throw new Error('a claim without a lease');
  const { executionId, leaseId, fencingToken } = lease;
  return { executionId, leaseId, fencingToken };
}

export class ByHand {
  readonly worker: { readonly name: string; readonly instanceId: string };
  readonly #clients: Pick<Clients, 'engine' | 'completion'>;
  readonly #namespace: string;

  constructor(clients: Pick<Clients, 'engine' | 'completion'>, name = 'hand', instanceId = name, namespace = '') {
    this.#clients = clients;
    this.worker = { name, instanceId };
    this.#namespace = namespace;
  }

  async create(...specs: Init<ExecutionSpec>[]): Promise<string[]> {
    const executions = specs.map((spec) => ({ type: 'work', ...spec }));
    const { results } = await this.#clients.engine.createExecutions({ namespace: this.#namespace, executions });
    return results.map((result) => ok(result).executionId);
  }

  async createOne(spec: Init<ExecutionSpec> = {}): Promise<string> {
    return only(await this.create(spec));
  }

  /** Waits up to five seconds for the first, and holds for a minute, unless asked otherwise. */
  async claim(ask: Init<ClaimExecutionsRequest> = {}): Promise<Claim[]> {
    const defaults = { namespace: this.#namespace, worker: this.worker, wait: seconds(5), leaseDuration: seconds(60) };
    return (await this.#clients.engine.claimExecutions({ ...defaults, ...ask })).claims;
  }

  /** Waits longer: there is to be one. */
  async claimOne(ask: Init<ClaimExecutionsRequest> = {}): Promise<Claim> {
    return only(await this.claim({ wait: seconds(20), ...ask }));
  }

  async claimNamed(executionId: string, ask: Init<ClaimExecutionRequest> = {}): Promise<Claim> {
    const defaults = { namespace: this.#namespace, worker: this.worker, executionId, leaseDuration: seconds(60) };
    const { claim } = await this.#clients.engine.claimExecution({ ...defaults, ...ask });
    if (claim === undefined) throw new Error('an answer without a claim');
    return claim;
  }

  async renew(claim: Claim, more: Init<LeaseRenewal> = {}): Promise<RenewedLease> {
    const renewals = [{ lease: leaseOf(claim), ...more }];
    return ok(only((await this.#clients.engine.renewLeases({ namespace: this.#namespace, renewals })).results));
  }

  async progress(claim: Claim, percent: number, message = ''): Promise<boolean> {
    const progress = { percent, message };
    const lease = leaseOf(claim);
    const answer = await this.#clients.engine.reportProgress({ namespace: this.#namespace, lease, progress });
    return answer.cancelRequest !== undefined;
  }

  async complete(claim: Claim, result = 'done'): Promise<CompletedExecution> {
    const completions = [{ lease: leaseOf(claim), result: text(result) }];
    return ok(
      only((await this.#clients.engine.completeExecutions({ namespace: this.#namespace, completions })).results),
    );
  }

  async fail(claim: Claim, failureClass: FailureClass, more: Init<FailureReport> = {}): Promise<FailedExecution> {
    const failure = { failureClass, message: 'it broke', code: 'Broken' };
    const reports = [{ lease: leaseOf(claim), failure, ...more }];
    return ok(only((await this.#clients.engine.failExecutions({ namespace: this.#namespace, reports })).results));
  }

  async release(claim: Claim, reason = ''): Promise<ReleasedLease> {
    const leases = [leaseOf(claim)];
    return ok(only((await this.#clients.engine.releaseLeases({ namespace: this.#namespace, leases, reason })).results));
  }

  async delay(claim: Claim, until: Init<DelayExecutionRequest>): Promise<DelayExecutionResponse> {
    return await this.#clients.engine.delayExecution({ namespace: this.#namespace, lease: leaseOf(claim), ...until });
  }

  async cancel(executionId: string, more: Init<CancelExecutionRequest> = {}): Promise<CancelExecutionResponse> {
    return await this.#clients.engine.cancelExecution({ namespace: this.#namespace, executionId, ...more });
  }

  /** As it stands now. */
  async look(executionId: string): Promise<AwaitedExecution> {
    return only(await this.#await(executionId, 0));
  }

  async state(executionId: string): Promise<ExecutionState> {
    return (await this.look(executionId)).state;
  }

  /** Waits for its end. */
  async end(executionId: string, boundSeconds = 20): Promise<AwaitedExecution> {
    const ended = only(await this.#await(executionId, boundSeconds));
    if (ended.outcome === undefined) throw new Error(`${executionId} has not ended; its state is ${ended.state}`);
    return ended;
  }

  async #await(executionId: string, timeout: number): Promise<AwaitedExecution[]> {
    const asked = { namespace: this.#namespace, executionIds: [executionId], timeout: seconds(timeout) };
    return (await this.#clients.completion.awaitExecutions(asked)).executions;
  }
}

export function ok<T>(item: {
  result: { case: 'ok'; value: T } | { case: 'error'; value: ItemError } | { case: undefined; value?: undefined };
}): T {
  const { result } = item;
  if (result.case === 'ok') return result.value;
  if (result.case === 'error') throw new ItemRefused(result.value);
  throw new Error('an item without an answer');
}

export function only<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined || items.length > 1) throw new Error(`expected one, got ${items.length}`);
  return item;
}
