/**
 * Where single calls become grouped statements: one group per kind of write. What follows a commit is told here, so
 * no call forgets it.
 */
import { GroupCommit, type GroupMeter } from '../../batching/group-commit.js';
import { type AfterCommit, tellConsequences, untilMs } from '../../dispatch/after-commit.js';
import type { AttemptMeters } from '../../dispatch/attempt-meters.js';
import { EndCall, ExecutionState } from '../../domain/states.js';
import type { Granted } from '../../repository/claims/index.js';
import type { Database } from '../../repository/database.js';
import type { Publication, PublishAnswer } from '../../repository/events/index.js';
import { type CreationAnswer, createExecutions, type NewExecution } from '../../repository/executions/index.js';
import {
  type AppendAnswer,
  type Appending,
  appendFrames,
  type FrameLimits,
  type NewFrame,
  type RefusedFrames,
} from '../../repository/frames/index.js';
import {
  completeAndClaim,
  completeAndClaimWithEvents,
  completeAndClaimWithFrames,
  type EndAnswer,
  type Ending,
  endAttempts,
  type NewEmission,
  type RefusedEmission,
  type RenewAnswer,
  type Renewal,
  renewLeases,
  type Taker,
  type TakingEnding,
} from '../../repository/leases/index.js';
import { Publisher } from './events/publisher.js';

/** Of a completion, which may bring frames and events. */
export type CompletionAnswer = EndAnswer | RefusedFrames | RefusedEmission;

export type EndCallNumber = (typeof EndCall)[keyof typeof EndCall];

export class Writers {
  readonly #database: Database;
  readonly #after: AfterCommit;
  readonly #maxMembers: number;
  readonly #create: GroupCommit<NewExecution, CreationAnswer>;
  readonly #complete: GroupCommit<TakingEnding, CompletionAnswer>;
  readonly #endings: ReadonlyMap<EndCallNumber, GroupCommit<Ending, EndAnswer>>;
  /** What was handed over so far to the takers of calls that are not answered yet. */
  readonly #handed = new WeakMap<Taker, readonly Granted[]>();
  readonly #renewals: GroupCommit<Renewal, RenewAnswer>;
  readonly #progress: GroupCommit<Renewal, RenewAnswer>;
  readonly #frames: GroupCommit<Appending, AppendAnswer>;
  readonly #publisher: Publisher;
  readonly #frameLimits: FrameLimits;
  readonly #attempts: AttemptMeters | undefined;

  /** maxMembers: of one flow. attempts: is told which were granted and ended here. */
  constructor(
    database: Database,
    after: AfterCommit,
    maxMembers: number,
    frameLimits = FRAME_LIMITS,
    attempts?: AttemptMeters,
  ) {
    this.#attempts = attempts;
    this.#database = database;
    this.#after = after;
    this.#maxMembers = maxMembers;
    this.#create = new GroupCommit({
      name: 'CreateExecutions',
      keysOf: (item) => (item.requestId === null ? [item.id] : [item.id, `${item.namespace}/${item.requestId}`]),
      bytesOf: (item) => item.input?.body.length ?? 0,
      lineOf: ({ namespace, orderingKey }) => (orderingKey ? `${namespace}/${orderingKey}` : undefined),
      isBusy: (answer) => answer.verdict === 'busy',
      run: (items) => this.#created(items, false),
    });
    this.#complete = this.#endGroup('CompleteExecutions', (items) => this.#completed(items));
    this.#endings = new Map(
      ENDS_WITHOUT_TAKERS.map((call) => [
        call,
        this.#endGroup(END_NAMES[call], (items: readonly Ending[]) => endAttempts(this.#database, call, items)),
      ]),
    );
    this.#renewals = this.#renewGroup('RenewLeases', true);
    this.#progress = this.#renewGroup('ReportProgress', false);
    this.#frameLimits = frameLimits;
    this.#publisher = new Publisher(database, after, maxMembers);
    this.#frames = new GroupCommit({
      name: 'AppendFrames',
      gapMs: FRAMES_GAP_MS,
      keysOf: (item) => [item.execution],
      bytesOf: ({ frames }) => bytesIn(frames),
      isBusy: (answer) => answer.verdict === 'busy',
      run: (items) => this.#appended(items),
    });
  }

  /** Of every group. */
  get meters(): readonly GroupMeter[] {
    const groups = [this.#create, this.#complete, ...this.#endings.values(), this.#renewals, this.#progress];
    return [...groups, this.#frames, this.#publisher.meter];
  }

  create(items: readonly NewExecution[]): Promise<CreationAnswer[]> {
    return this.#create.submit(items);
  }

  /** All or none: a transaction of its own, shared with nobody. */
  createAtomically(items: readonly NewExecution[]): Promise<CreationAnswer[]> {
    return this.#created(items, true);
  }

  /** `taker`: gets what these completions release, as far as it can. */
  complete(items: readonly Ending[], taker: Taker | null = null): Promise<CompletionAnswer[]> {
    return this.#complete.submit(taker === null ? items : items.map((item) => ({ ...item, taker })));
  }

  /** What this taker's completions released and it was given. */
  handedTo(taker: Taker | null): readonly Granted[] {
    return (taker && this.#handed.get(taker)) ?? [];
  }

  end(call: Exclude<EndCallNumber, typeof EndCall.COMPLETE>, items: readonly Ending[]): Promise<EndAnswer[]> {
    const group = this.#endings.get(call);
    if (group === undefined) throw new Error(`no group for call ${call}`);
    return group.submit(items);
  }

  renew(items: readonly Renewal[]): Promise<RenewAnswer[]> {
    return this.#renewals.submit(items);
  }

  /** Records progress without renewing. */
  progress(items: readonly Renewal[]): Promise<RenewAnswer[]> {
    return this.#progress.submit(items);
  }

  async append(item: Appending): Promise<AppendAnswer> {
    const [answer] = await this.#frames.submit([item]);
    if (answer === undefined) throw new Error('an append was left without an answer');
    return answer;
  }

  /** One call's events. */
  publish(events: Publication): Promise<PublishAnswer[]> {
    return this.#publisher.publish(events);
  }

  async #appended(items: readonly Appending[]): Promise<AppendAnswer[]> {
    const answers = await appendFrames(this.#database, items, this.#frameLimits);
    const grown = items.filter((_, i) => answers[i]?.verdict === 'appended');
    if (grown.length > 0) this.#after.appended(grown.map(({ execution }) => execution));
    return answers;
  }

  async #created(items: readonly NewExecution[], atomic: boolean): Promise<CreationAnswer[]> {
    const answers = await createExecutions(this.#database, items, { atomic, maxMembers: this.#maxMembers });
    const queued = new Map<number, number>();
    items.forEach((item, i) => {
      const answer = answers[i];
      if (answer?.verdict !== 'created') return;
      if (answer.state === ExecutionState.QUEUED) queued.set(item.class, (queued.get(item.class) ?? 0) + 1);
      // Its key may have been somebody else's at that moment: then it is looked at right after.
      else if (answer.state === ExecutionState.BLOCKED) this.#after.due('followUps', 0);
      else this.#after.due('scheduled', item.delayMs ?? untilMs(item.runAt));
      if (item.ttlMs !== null) this.#after.due('timers', item.ttlMs);
      if (item.deadline !== null) this.#after.due('timers', untilMs(item.deadline));
    });
    this.#after.committed(0);
    for (const [classId, count] of queued) this.#after.queued(classId, count);
    return answers;
  }

  #endGroup<Item extends Ending, Answer extends CompletionAnswer>(
    name: string,
    end: (items: readonly Item[]) => Promise<Answer[]>,
  ): GroupCommit<Item, Answer> {
    return new GroupCommit({
      name,
      keysOf: (item) => [item.execution],
      bytesOf: ({ content, frames, events, failureEvents }) =>
        (content?.body.length ?? 0) + bytesIn(frames ?? []) + bytesIn(events ?? []) + (failureEvents?.length ?? 0),
      isBusy: (answer) => answer.verdict === 'busy',
      run: async (items) => {
        const answers = await end(items);
        this.#after.committed(items.length);
        tellEnds(this.#after, answers);
        this.#meter(items, answers);
        if (items.some(({ events }) => events && events.length > 0)) this.#after.due('routes', 0);
        return answers;
      },
    });
  }

  #meter(items: readonly Ending[], answers: readonly CompletionAnswer[]): void {
    if (this.#attempts === undefined) return;
    for (const [i, answer] of answers.entries()) {
      const lease = items[i]?.lease;
      if (answer.verdict === 'done' && lease !== undefined) this.#attempts.ended(lease, answer);
    }
  }

  /** A call that was split over batches takes successors from the first only: its room is not told apart. */
  async #completed(items: readonly TakingEnding[]): Promise<CompletionAnswer[]> {
    const asking = items.map((item) => (item.taker && this.#handed.has(item.taker) ? { ...item, taker: null } : item));
    const takers = new Set(asking.flatMap(({ taker }) => taker ?? []));
    const brought = asking.some(({ frames }) => frames && frames.length > 0);
    const emits = asking.some(({ events }) => events && events.length > 0);
    if (takers.size === 0 && !brought && !emits) return await endAttempts(this.#database, EndCall.COMPLETE, items);
    for (const taker of takers) this.#handed.set(taker, []);
    const { answers, claims } = emits
      ? await completeAndClaimWithEvents(this.#database, asking, this.#frameLimits)
      : brought
        ? await completeAndClaimWithFrames(this.#database, asking, this.#frameLimits)
        : await completeAndClaim(this.#database, asking);
    for (const [taker, granted] of claims) {
      this.#handed.set(taker, granted);
      if (granted.length > 0) this.#after.due('leases', taker.holder.leaseMs);
      this.#attempts?.granted(granted, taker.holder.leaseMs);
    }
    return answers;
  }

  #renewGroup(name: string, extend: boolean): GroupCommit<Renewal, RenewAnswer> {
    return new GroupCommit({
      name,
      maxItems: 1_000,
      keysOf: (item) => [item.execution],
      bytesOf: () => 0,
      isBusy: (answer) => answer.verdict === 'busy',
      run: (items) => renewLeases(this.#database, items, extend),
    });
  }
}

/** As the configuration has them when nothing is said. */
const FRAME_LIMITS: FrameLimits = { frames: 10_000, summaryBytes: 256 * 1024 };
/** Two hundred commits a second at most, however many streams there are. */
const FRAMES_GAP_MS = 5;
/** What a frame or an event takes beside its payload, about. */
const ENVELOPE_BYTES = 256;

function bytesIn(contents: readonly (NewFrame | NewEmission)[]): number {
  return contents.reduce((sum, { payload }) => sum + ENVELOPE_BYTES + (payload?.body.length ?? 0), 0);
}

/** As the contract names the calls. */
const END_NAMES: Readonly<Record<EndCallNumber, string>> = {
  [EndCall.COMPLETE]: 'CompleteExecutions',
  [EndCall.FAIL]: 'FailExecutions',
  [EndCall.DELAY]: 'DelayExecution',
  [EndCall.RELEASE]: 'ReleaseLeases',
};

const ENDS_WITHOUT_TAKERS = [EndCall.FAIL, EndCall.DELAY, EndCall.RELEASE] as const;

/** Wakes whoever waits for what these ends made claimable: the execution itself, or what it released in its flow. */
function tellEnds(after: AfterCommit, answers: readonly CompletionAnswer[]): void {
  for (const answer of answers) {
    if (answer.verdict !== 'done') continue;
    after.freed(answer.class);
    if (answer.state === ExecutionState.QUEUED) after.queued(answer.class, 1);
    if (answer.state === ExecutionState.SCHEDULED) after.due('scheduled', untilMs(answer.run_at));
    tellConsequences(after, answer);
  }
}
