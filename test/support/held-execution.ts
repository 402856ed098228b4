/** An execution under a long lease, with whose waitpoints and suspensions a test plays. In a lane of its own. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type {
  SuspendExecutionRequestSchema,
  SuspendExecutionResponse,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Claim, LeaseRef } from '../../gen/tailrace/v1/lease_pb.js';
import type { Waitpoint } from '../../gen/tailrace/v1/signal_pb.js';
import { ByHand, type Init, leaseOf, seconds } from './by-hand.js';
import type { Clients } from './tailrace.js';

type Wait = Exclude<MessageInitShape<typeof SuspendExecutionRequestSchema>, { $typeName: string }>;
type Span = Pick<Duration, 'seconds' | 'nanos'>;

export class HeldExecution {
  readonly id: string;
  claim: Claim;
  readonly #clients: Clients;
  readonly #namespace: string;
  readonly #hand: ByHand;

  private constructor(clients: Clients, namespace: string, hand: ByHand, claim: Claim) {
    this.id = claim.executionId;
    this.claim = claim;
    this.#clients = clients;
    this.#namespace = namespace;
    this.#hand = hand;
  }

  static async make(
    clients: Clients,
    namespace = '',
    spec: Parameters<ByHand['createOne']>[0] = {},
  ): Promise<HeldExecution> {
    const hand = new ByHand(clients, 'holder', 'holder', namespace);
    const id = await hand.createOne({ lane: 'held', ...spec });
    return new HeldExecution(clients, namespace, hand, await hand.claimNamed(id, { leaseDuration: seconds(3_600) }));
  }

  get lease(): Init<LeaseRef> {
    return leaseOf(this.claim);
  }

  async waitpoint(key: string, expiry?: Span): Promise<Waitpoint> {
    const { waitpoint } = await this.#clients.engine.createWaitpoint({
      namespace: this.#namespace,
      lease: this.lease,
      waitpoint: { key, ...(expiry && { expiry }) },
    });
    if (waitpoint === undefined) throw new Error('an answer without a waitpoint');
    return waitpoint;
  }

  async token(key: string, expiry?: Span): Promise<string> {
    return (await this.waitpoint(key, expiry)).token;
  }

  async tokens(...keys: string[]): Promise<string[]> {
    return await Promise.all(keys.map((key) => this.token(key)));
  }

  /** Until a signal of this name, landing on the waitpoint if one is named. */
  async suspend(name: string, waitpointKey = '', more: Wait = {}): Promise<SuspendExecutionResponse> {
    const condition = { condition: { case: 'signal' as const, value: { name, waitpointKey } } };
    const { lease } = this;
    return await this.#clients.engine.suspendExecution({ namespace: this.#namespace, lease, condition, ...more });
  }

  /** Once it goes on. */
  async claimAgain(): Promise<Claim> {
    this.claim = await this.#hand.claimNamed(this.id, { leaseDuration: seconds(3_600) });
    return this.claim;
  }

  async complete(): Promise<void> {
    await this.#hand.complete(this.claim);
  }

  async openWaitpoints(): Promise<Waitpoint[]> {
    const asked = { namespace: this.#namespace, executionId: this.id };
    return (await this.#clients.admin.listPendingWaitpoints(asked)).waitpoints;
  }

  /** How many, by the keys of the waitpoints that are open. */
  async signalsReceived(): Promise<Record<string, number>> {
    const open = await this.openWaitpoints();
    return Object.fromEntries(open.map(({ key, signalCount }) => [key, signalCount]));
  }
}
