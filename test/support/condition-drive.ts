/** Does to the engine what a plan says, beside the oracle, and compares every answer. */
import { expect } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import {
  type Condition,
  CountDistinct,
  ResumeCause,
  SignalEffect,
  SignalSource,
  WaitpointState,
} from '../../gen/tailrace/v1/signal_pb.js';
import { type Init, refusal, seconds, text } from './by-hand.js';
import { type Distinct, type OracleCondition, type SentSignal, WaitOracle } from './condition-oracle.js';
import { type DrawnCondition, type DrawnSignal, type PlanStep, resolved } from './condition-plan.js';
import type { WaitsByHand } from './waits-by-hand.js';

const { RUNNING, SUSPENDED, QUEUED } = ExecutionState;
const DISTINCT: Readonly<Record<Distinct, CountDistinct>> = {
  signals: CountDistinct.SIGNALS,
  waitpoints: CountDistinct.WAITPOINTS,
  sources: CountDistinct.SOURCES,
};
const STATES = { pending: WaitpointState.PENDING, active: WaitpointState.ACTIVE, closed: WaitpointState.CLOSED };
const REFUSED = new Set(['REQUEST_ID_REUSED', 'WAITPOINT_NOT_FOUND', 'WRONG_STATE']);

export class ConditionDrive {
  readonly #oracle = new WaitOracle();
  readonly #tokens = new Map<string, string>();
  readonly #ids = new Map<SentSignal, string>();
  /** What each suspension took, by its number less one. */
  #taken: (readonly string[])[] = [];
  #attempt = 1;
  #cause = ResumeCause.SATISFIED;

  private constructor(
    /** By turns, so that no server knows all of it. */
    readonly hands: readonly WaitsByHand[],
    readonly id: string,
    /** Undefined while nobody holds it. */
    private claim: Claim | undefined,
  ) {}

  static async follow(hands: readonly WaitsByHand[], steps: readonly PlanStep[]): Promise<void> {
    const [hand] = hands;
    if (hand === undefined) throw new Error('nobody to follow the plan');
    const id = await hand.createOne({ lane: 'conditions' });
    const drive = new ConditionDrive(hands, id, await hand.claimNamed(id, { leaseDuration: seconds(600) }));
    for (const [i, step] of steps.entries()) await drive.#do(step, hands[i % hands.length] ?? hand);
    await drive.#finish(hand);
  }

  async #do(step: PlanStep, hand: WaitsByHand): Promise<void> {
    if (step.does === 'signal') await this.#signal(step, hand);
    else if (step.does === 'resume') await this.#resume(hand);
    else if (this.#oracle.suspended) return;
    else if (step.does === 'give back') await this.#giveBack(hand);
    else if (step.does === 'waitpoint') await this.#waitpoint(step.twice, hand);
    else await this.#suspend(step.condition, step.fresh, hand);
  }

  /** Goes on with the attempt, and is told why. */
  async #held(hand: WaitsByHand): Promise<Claim> {
    if (this.claim) return this.claim;
    const claim = await hand.claimNamed(this.id, { leaseDuration: seconds(600) });
    const told = claim.resume?.signals.map(({ signalId }) => signalId);
    expect(claim.attemptNumber).toBe(this.#attempt);
    this.claim = claim;
    if (this.#taken.length === 0) {
      expect(claim.resume).toBeUndefined();
      return claim;
    }
    expect(claim.resume).toMatchObject({
      cause: this.#cause,
      suspensionNumber: this.#oracle.count,
      moreSignals: false,
    });
    expect(told).toEqual(this.#taken.at(-1));
    await this.#expectMatched(claim, hand);
    return claim;
  }

  async #expectMatched(claim: Claim, hand: WaitsByHand): Promise<void> {
    const idsOf = async (number: number) => (await hand.matched(claim, number)).map(({ signalId }) => signalId);
    expect(await idsOf(0)).toEqual(this.#taken.at(-1));
    for (const [i, taken] of this.#taken.entries()) expect(await idsOf(i + 1)).toEqual(taken);
  }

  async #giveBack(hand: WaitsByHand): Promise<void> {
    await hand.release(await this.#held(hand));
    this.claim = undefined;
    this.#oracle.beginsAnew();
    this.#attempt++;
    this.#taken = [];
  }

  async #waitpoint(twice: boolean, hand: WaitsByHand): Promise<void> {
    const claim = await this.#held(hand);
    const key = `w${this.#tokens.size}`;
    const { token, state } = await hand.waitpoint(claim, key);
    expect(state).toBe(WaitpointState.PENDING);
    this.#made(key, token);
    if (twice) expect((await hand.waitpoint(claim, key)).token).toBe(token);
  }

  #made(key: string, token: string): void {
    expect(token).not.toBe('');
    this.#tokens.set(key, token);
    this.#oracle.makes(key);
  }

  async #suspend(drawn: DrawnCondition, fresh: number, hand: WaitsByHand): Promise<void> {
    const claim = await this.#held(hand);
    const keys = Array.from({ length: fresh }, (_, i) => `w${this.#tokens.size + i}`);
    const open = [...this.#tokens.keys()].filter((key) => this.#oracle.stateOf(key) === 'pending');
    const condition = resolved(drawn, [...open, ...keys]);
    const waitpoints = keys.map((key) => ({ key }));
    const answer = await hand.suspend(claim, { condition: messageOf(condition), waitpoints });
    for (const [i, key] of keys.entries()) this.#made(key, answer.waitpoints[i]?.token ?? '');
    const parks = this.#oracle.suspends(condition);
    expect(answer).toMatchObject({ suspended: parks, suspensionNumber: this.#oracle.count, duplicate: false });
    for (const { key, state } of answer.waitpoints) expect(state).toBe(STATES[this.#oracle.stateOf(key) ?? 'closed']);
    if (parks) this.claim = undefined;
    else this.#wentOn(ResumeCause.SATISFIED);
    expect(answer.signals.map(({ signalId }) => signalId)).toEqual(parks ? [] : this.#taken.at(-1));
    if (!parks) await this.#expectMatched(claim, hand);
    expect(await hand.state(this.id)).toBe(parks ? SUSPENDED : RUNNING);
  }

  async #signal(step: DrawnSignal, hand: WaitsByHand): Promise<void> {
    const keys = [...this.#tokens.keys(), 'no such waitpoint'];
    const waitpoint = keys[step.at % (keys.length + 2)];
    const { name, source, sourceId, payload, key } = step;
    const sent: SentSignal = {
      ...{ name, waitpoint, key, source: `${source} ${sourceId}` },
      content: JSON.stringify([name, source, sourceId, payload, waitpoint]),
    };
    const more = { source, sourceId, idempotencyKey: key ?? '', ...(payload !== '' && { payload: text(payload) }) };
    const token = step.byToken ? this.#tokens.get(waitpoint ?? '') : undefined;
    const call =
      token === undefined
        ? hand.signal(this.id, name, { ...more, ...(waitpoint !== undefined && { waitpointKey: waitpoint }) })
        : hand.signalBy(token, name, more);
    const effect = this.#oracle.receives(sent);
    if (REFUSED.has(effect)) {
      // Who has but a token is told nothing of a waitpoint that is closed.
      const reason = effect === 'WRONG_STATE' && token !== undefined ? 'INVALID_WAITPOINT_TOKEN' : effect;
      expect((await refusal(call)).reason).toBe(reason);
      return;
    }
    const answer = await call;
    expect(SignalEffect[answer.effect]).toBe(effect);
    if (effect === 'DUPLICATE') {
      expect([...this.#ids].find(([one]) => one.key === key)?.[1]).toBe(answer.signalId);
      return;
    }
    this.#ids.set(sent, answer.signalId);
    if (effect !== 'SATISFIED') return;
    this.#wentOn(ResumeCause.SATISFIED);
    expect(await hand.state(this.id)).toBe(QUEUED);
  }

  async #resume(hand: WaitsByHand): Promise<void> {
    const call = hand.clients.admin.resumeExecution({ executionId: this.id, signalName: 'word', actor: 'me' });
    if (!this.#oracle.suspended) {
      expect((await refusal(call)).reason).toBe('NOT_SUSPENDED');
      return;
    }
    expect((await call).state).toBe(QUEUED);
    const word = {
      name: 'word',
      source: `${SignalSource.OPERATOR} me`,
      waitpoint: undefined,
      key: undefined,
      content: '',
    };
    this.#oracle.resumesBy(word);
    // Only whoever goes on learns its id.
    this.claim = await hand.claimNamed(this.id, { leaseDuration: seconds(600) });
    const { cause, signals = [] } = this.claim.resume ?? {};
    expect(cause).toBe(ResumeCause.OPERATOR);
    expect(signals).toMatchObject([{ name: 'word', source: SignalSource.OPERATOR, sourceId: 'me' }]);
    this.#ids.set(word, signals[0]?.signalId ?? '');
    this.#wentOn(ResumeCause.OPERATOR);
    await this.#expectMatched(this.claim, hand);
  }

  #wentOn(cause: ResumeCause): void {
    this.#cause = cause;
    this.#taken.push(this.#oracle.taken.map((signal) => this.#ids.get(signal) ?? 'unknown'));
  }

  /** Waitpoints stand as they should; with the execution they close. */
  async #finish(hand: WaitsByHand): Promise<void> {
    const pending = async () => {
      const { waitpoints } = await hand.clients.admin.listPendingWaitpoints({ executionId: this.id, pageSize: 1_000 });
      return Object.fromEntries(waitpoints.map(({ key, state }) => [key, state]));
    };
    const open = [...this.#tokens.keys()].flatMap((key) => {
      const state = this.#oracle.stateOf(key) ?? 'closed';
      return state === 'closed' ? [] : [[key, STATES[state]] as const];
    });
    expect(await pending()).toEqual(Object.fromEntries(open));
    if (this.#oracle.suspended) await hand.cancel(this.id);
    else await hand.complete(await this.#held(hand));
    expect(await pending()).toEqual({});
  }
}

function messageOf(condition: OracleCondition): Init<Condition> {
  const selector = ({ name, waitpoint }: { name: string; waitpoint: string }) => ({ name, waitpointKey: waitpoint });
  switch (condition.kind) {
    case 'signal':
      return { condition: { case: 'signal', value: selector(condition) } };
    case 'all':
      return { condition: { case: 'allOf', value: { members: condition.members.map(messageOf) } } };
    case 'count': {
      const { count, distinct, among } = condition;
      return {
        condition: { case: 'count', value: { count, distinct: DISTINCT[distinct], among: among.map(selector) } },
      };
    }
    case 'never':
      return { condition: { case: 'operatorOnly', value: {} } };
  }
}
