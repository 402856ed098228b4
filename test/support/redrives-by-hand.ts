/** Many dead letters, and bulk redrives of them, one step at a time. */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { type DeadLetter, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import type { StartRedriveRequest } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type Redrive, RedriveState } from '../../gen/tailrace/v1/redrive_pb.js';
import { ByHand, type Init, leaseOf, text } from './by-hand.js';
import { eventually } from './eventually.js';
import type { Clients } from './tailrace.js';

export class RedrivesByHand {
  readonly hand: ByHand;
  readonly #clients: Clients;

  constructor(clients: Clients) {
    this.#clients = clients;
    this.hand = new ByHand(clients);
  }

  /** Executions of one lane that failed for good, in the order of their letters. */
  async givenUp(lane: string, count: number, spec: (i: number) => Init<ExecutionSpec> = () => ({})): Promise<string[]> {
    const ids = await this.hand.create(...Array.from({ length: count }, (_, i) => ({ lane, ...spec(i) })));
    await this.fail(await this.claim(lane, count));
    return ids;
  }

  /** So many of the lane, waiting for them. */
  async claim(lane: string, count: number): Promise<Claim[]> {
    const claims: Claim[] = [];
    while (claims.length < count) {
      const some = await this.hand.claim({ lanes: [{ lane }], maxExecutions: Math.min(500, count - claims.length) });
      if (some.length === 0) throw new Error(`${claims.length} of ${count} were claimed, and no more`);
      claims.push(...some);
    }
    return claims;
  }

  async fail(claims: readonly Claim[]): Promise<void> {
    const failure = { failureClass: FailureClass.PERMANENT, message: 'it broke', code: 'Broken' };
    const reports = claims.map((claim) => ({ lease: leaseOf(claim), failure }));
    await this.#clients.engine.failExecutions({ reports });
  }

  async complete(claims: readonly Claim[]): Promise<void> {
    const completions = claims.map((claim) => ({ lease: leaseOf(claim), result: text('done') }));
    await this.#clients.engine.completeExecutions({ completions });
  }

  /** As fast as it goes, unless asked otherwise. */
  async start(lane: string, more: Init<StartRedriveRequest> = {}): Promise<Redrive> {
    const asked = { filter: { lanes: [lane] }, ratePerSecond: 1_000, ...more };
    return present((await this.#clients.deadLetters.startRedrive(asked)).redrive);
  }

  async look({ redriveId }: Redrive): Promise<Redrive> {
    return present((await this.#clients.deadLetters.getRedrive({ redriveId })).redrive);
  }

  async stop({ redriveId }: Redrive, reason = ''): Promise<Redrive> {
    return present((await this.#clients.deadLetters.stopRedrive({ redriveId, reason })).redrive);
  }

  /** Once it has finished. */
  async finished(redrive: Redrive): Promise<Redrive> {
    await this.until(redrive, ({ state }) => state === RedriveState.FINISHED);
    return this.look(redrive);
  }

  async until(redrive: Redrive, isSo: (seen: Redrive) => boolean): Promise<void> {
    await eventually(async () => isSo(await this.look(redrive)));
  }

  /** Oldest first. */
  async letters(lane: string, states: readonly DeadLetterState[] = []): Promise<DeadLetter[]> {
    const filter = { lanes: [lane], states: [...states] };
    return (await this.#clients.deadLetters.listDeadLetters({ filter, pageSize: 1_000 })).deadLetters.reverse();
  }

  async open(lane: string): Promise<number> {
    return (await this.letters(lane, [DeadLetterState.OPEN])).length;
  }
}

function present(redrive: Redrive | undefined): Redrive {
  if (redrive === undefined) throw new Error('an answer without a redrive');
  return redrive;
}
