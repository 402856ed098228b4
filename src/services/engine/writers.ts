/**
 * Where single calls become grouped statements: one group per kind of write. What follows a commit is told here, so
 * no call forgets it.
 */
import { GroupCommit } from '../../batching/group-commit.js';
import type { AfterCommit } from '../../dispatch/after-commit.js';
import { EndCall, ExecutionState } from '../../domain/states.js';
import type { Database } from '../../repository/database.js';
import { type CreationAnswer, createExecutions, type NewExecution } from '../../repository/executions/index.js';
import {
  type EndAnswer,
  type Ending,
  endAttempts,
  type RenewAnswer,
  type Renewal,
  renewLeases,
} from '../../repository/leases/index.js';
import { wallMs } from '../../runtime/clock.js';

export type EndCallNumber = (typeof EndCall)[keyof typeof EndCall];

export class Writers {
  readonly #database: Database;
  readonly #after: AfterCommit;
  readonly #create: GroupCommit<NewExecution, CreationAnswer>;
  readonly #endings: ReadonlyMap<EndCallNumber, GroupCommit<Ending, EndAnswer>>;
  readonly #renewals: GroupCommit<Renewal, RenewAnswer>;
  readonly #progress: GroupCommit<Renewal, RenewAnswer>;

  constructor(database: Database, after: AfterCommit) {
    this.#database = database;
    this.#after = after;
    this.#create = new GroupCommit({
      name: 'CreateExecutions',
      keysOf: (item) => (item.requestId === null ? [item.id] : [item.id, `${item.namespace}/${item.requestId}`]),
      bytesOf: (item) => item.input?.body.length ?? 0,
      run: (items) => this.#created(items, false),
    });
    this.#endings = new Map(Object.values(EndCall).map((call) => [call, this.#endGroup(call)]));
    this.#renewals = this.#renewGroup('RenewLeases', true);
    this.#progress = this.#renewGroup('ReportProgress', false);
  }

  create(items: readonly NewExecution[]): Promise<CreationAnswer[]> {
    return this.#create.submit(items);
  }

  /** All or none: a transaction of its own, shared with nobody. */
  createAtomically(items: readonly NewExecution[]): Promise<CreationAnswer[]> {
    return this.#created(items, true);
  }

  end(call: EndCallNumber, items: readonly Ending[]): Promise<EndAnswer[]> {
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

  async #created(items: readonly NewExecution[], atomic: boolean): Promise<CreationAnswer[]> {
    const answers = await createExecutions(this.#database, items, atomic);
    const queued = new Map<number, number>();
    items.forEach((item, i) => {
      const answer = answers[i];
      if (answer?.verdict !== 'created') return;
      if (answer.state === ExecutionState.QUEUED) queued.set(item.class, (queued.get(item.class) ?? 0) + 1);
      else this.#after.due('scheduled', item.delayMs ?? until(item.runAt));
      if (item.ttlMs !== null) this.#after.due('timers', item.ttlMs);
      if (item.deadline !== null) this.#after.due('timers', until(item.deadline));
    });
    this.#after.committed(0);
    for (const [classId, count] of queued) this.#after.queued(classId, count);
    return answers;
  }

  #endGroup(call: EndCallNumber): GroupCommit<Ending, EndAnswer> {
    return new GroupCommit({
      name: `EndAttempts(${call})`,
      keysOf: (item) => [item.execution],
      bytesOf: (item) => item.content?.body.length ?? 0,
      isBusy: (answer) => answer.verdict === 'busy',
      run: async (items) => {
        const answers = await endAttempts(this.#database, call, items);
        this.#after.committed(items.length);
        for (const answer of answers) {
          if (answer.verdict !== 'done') continue;
          if (answer.state === ExecutionState.QUEUED) this.#after.queued(answer.class, 1);
          if (answer.state === ExecutionState.SCHEDULED) this.#after.due('scheduled', until(answer.run_at));
        }
        return answers;
      },
    });
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

/** By this machine's clock, which is good enough for a hint. */
function until(time: Date | null): number {
  return time === null ? 0 : time.getTime() - wallMs();
}
