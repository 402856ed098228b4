/** An engine in memory behind a real transport: hands out what it is given and remembers what it is told. */
import { type Code, ConnectError, createRouterTransport, type ServiceImpl, type Transport } from '@connectrpc/connect';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../../gen/tailrace/v1/completion_service_pb.js';
import {
  type CompleteExecutionsRequest,
  type Completion,
  EngineService,
  type FailureReport,
  type HeartbeatWorkerRequest,
  type RenewLeasesRequest,
  type WaitForChildrenRequest,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import type { SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';
import { toPayload } from '../../../src/client/content.js';
import { renewed } from './claims.js';

interface HandedOver {
  readonly claims?: Claim[];
  readonly drain?: boolean;
}

export class FakeEngine {
  readonly completions: Completion[] = [];
  readonly completeCalls: CompleteExecutionsRequest[] = [];
  readonly waits: WaitForChildrenRequest[] = [];
  /** Executions whose results were read. */
  readonly reads: string[] = [];
  readonly failures: FailureReport[] = [];
  readonly released: string[] = [];
  readonly renewals: RenewLeasesRequest[] = [];
  readonly heartbeats: HeartbeatWorkerRequest[] = [];
  readonly subscriptions: SubscriptionSpec[] = [];
  /** What a subscription is answered with. */
  onSubscribe: (spec: SubscriptionSpec) => string[] = () => [];
  unregistered = 0;
  claimCalls = 0;
  /** Told with the next heartbeat or claim. */
  drain = false;
  /** While set, every call is refused with it. */
  away: Code | undefined;
  onRenew = renewed;
  /** What a completion hands over. */
  onComplete: (request: CompleteExecutionsRequest) => HandedOver | Promise<HandedOver> = () => ({});
  readonly transport: Transport;
  #waiting: Claim[] = [];
  #arrived: () => void = () => {};

  /** `more`: calls that this one does not know, as a test needs them. */
  constructor(more: Partial<ServiceImpl<typeof EngineService>> = {}) {
    this.transport = createRouterTransport(({ service }) => {
      service(EngineService, {
        ...more,
        heartbeatWorker: (request) => {
          this.#mayBeAway();
          this.heartbeats.push(request);
          return { drain: this.drain, drainReason: 'upgrade' };
        },
        unregisterWorker: () => {
          this.unregistered++;
          return {};
        },
        claimExecutions: ({ maxExecutions }, { signal }) => this.#claim(maxExecutions, signal),
        renewLeases: (request) => {
          this.#mayBeAway();
          this.renewals.push(request);
          return { results: request.renewals.map(() => this.onRenew()) };
        },
        completeExecutions: async (request) => {
          this.#mayBeAway();
          this.completeCalls.push(request);
          this.completions.push(...request.completions);
          const results = request.completions.map(() => ({ result: { case: 'ok' as const, value: {} } }));
          return { results, ...(await this.onComplete(request)) };
        },
        waitForChildren: (request) => {
          this.#mayBeAway();
          this.waits.push(request);
          return { state: ExecutionState.WAITING_CHILDREN };
        },
        failExecutions: ({ reports }) => {
          this.#mayBeAway();
          this.failures.push(...reports);
          return { results: reports.map(() => ({ result: { case: 'ok', value: {} } })) };
        },
        releaseLeases: ({ leases }) => {
          this.released.push(...leases.map(({ executionId }) => executionId));
          return { results: leases.map(() => ({ result: { case: 'ok', value: {} } })) };
        },
      });
      service(CompletionService, {});
      service(AdminService, {
        putSubscription: ({ subscription }) => {
          this.#mayBeAway();
          if (!subscription) throw new Error('no subscription');
          const warnings = this.onSubscribe(subscription);
          this.subscriptions.push(subscription);
          return { warnings };
        },
        getExecution: ({ executionId }) => {
          this.#mayBeAway();
          this.reads.push(executionId);
          const outcome = { result: toPayload(`all of ${executionId}`) ?? {} };
          return { execution: { executionId, outcome } };
        },
      });
    });
  }

  offer(...claims: Claim[]): void {
    this.#waiting.push(...claims);
    this.#arrived();
  }

  async #claim(most: number, signal: AbortSignal) {
    this.claimCalls++;
    this.#mayBeAway();
    if (this.#waiting.length === 0 && !this.drain) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return { claims: signal.aborted ? [] : this.#waiting.splice(0, most), drain: this.drain };
  }

  #mayBeAway(): void {
    if (this.away !== undefined) throw new ConnectError('away', this.away);
  }
}
