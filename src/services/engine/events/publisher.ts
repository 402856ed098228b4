/** Where publishing calls become grouped statements, and what follows their commit. */
import { GroupCommit, type GroupMeter, isDataError } from '../../../batching/group-commit.js';
import { type AfterCommit, tellConsequences } from '../../../dispatch/after-commit.js';
import type { Database } from '../../../repository/database.js';
import { type Publication, type PublishAnswer, publishEvents } from '../../../repository/events/index.js';

/** A publication costs much beside its events: while one runs for no longer than this, what comes shares the next. */
const OVERLAP_MS = 10;
/** What an event takes beside its payload, about; bounds the events of a statement to some two thousand. */
const EVENT_BYTES = 8 * 1_024;
/** Reactions of one event that start in its own transaction. */
const MOST_REACTIONS = 8;
/** A statement with more events leaves their reactions to the router, which makes them in bounded transactions. */
const MOST_EVENTS = 1_000;

export class Publisher {
  readonly #database: Database;
  readonly #after: AfterCommit;
  readonly #maxMembers: number;
  readonly #calls: GroupCommit<Publication, readonly PublishAnswer[]>;

  constructor(database: Database, after: AfterCommit, maxMembers: number) {
    this.#database = database;
    this.#after = after;
    this.#maxMembers = maxMembers;
    this.#calls = new GroupCommit({
      name: 'PublishEvents',
      keysOf: (events) =>
        events.flatMap(({ namespace, eventId }) => (eventId === null ? [] : `${namespace}/${eventId}`)),
      bytesOf: (events) => events.reduce((sum, { payload }) => sum + EVENT_BYTES + (payload?.body.length ?? 0), 0),
      isBusy: (answers) => answers.some(({ verdict }) => verdict === 'busy'),
      overlapMs: OVERLAP_MS,
      run: (calls) => this.#published(calls),
    });
  }

  get meter(): GroupMeter {
    return this.#calls;
  }

  /** One call, decided as a whole: its events are independent, but their order is not. */
  async publish(events: Publication): Promise<PublishAnswer[]> {
    const [answers] = await this.#calls.submit([events]);
    if (answers === undefined) throw new Error('a publication was left without an answer');
    return [...answers];
  }

  async #published(calls: readonly Publication[]): Promise<readonly (readonly PublishAnswer[])[]> {
    const events = calls.reduce((sum, { length }) => sum + length, 0);
    const { answers, consequences } = await this.#stored(calls, events > MOST_EVENTS ? 0 : MOST_REACTIONS);
    this.#after.committed(events);
    tellConsequences(this.#after, consequences);
    if (consequences.follows) this.#after.due('routes', 0);
    return answers;
  }

  /**
   * A subscription that cannot be evaluated, or makes something that cannot be stored, is no fault of its publisher: the
   * events are stored all the same, and the router finds out which one it is.
   */
  async #stored(calls: readonly Publication[], most: number) {
    const maxMembers = this.#maxMembers;
    try {
      return await publishEvents(this.#database, calls, { most, maxMembers });
    } catch (error) {
      if (most === 0 || !isDataError(error)) throw error;
      return await publishEvents(this.#database, calls, { most: 0, maxMembers });
    }
  }
}
