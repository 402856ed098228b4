/**
 * A whole server whose history is recorded from the first call on and judged when it stops: every end-to-end test also
 * tests what the engine promises about histories.
 */
import { isDeepStrictEqual } from 'node:util';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { statement } from '../../../src/repository/statement.js';
import { verify } from '../../../src/repository/verification/index.js';
import type { Running } from '../../../src/serve.js';
import { ByHand } from '../by-hand.js';
import { eventually } from '../eventually.js';
import { type Clients, startTailrace, type TestTailrace, type TestTailraceOptions } from '../tailrace.js';
import { expectSound } from './check.js';
import { recordingClients } from './clients.js';
import { entriesOf } from './feeds.js';
import { readFinalSubscriptions } from './final-events.js';
import { readFinalStates, type Told } from './final-states.js';
import type { Feed, FeedEntry, FeedMessage, FinalStates, History } from './history.js';
import { positionOf, type ReaderOptions, RecordedReader } from './reader.js';
import { Recorder } from './recorder.js';
import { RecordedTail, type TailOptions } from './tail.js';

/** Reads from the recorded server unless told otherwise. */
type Wanted = Omit<ReaderOptions, 'completion'> & Partial<Pick<ReaderOptions, 'completion'>>;

const TRIES = 20;

const followUps = statement('history.follow_ups', 'select 1 from {schema}.follow_up limit 1');

export interface Another {
  readonly clients: Clients;
  stop(): Promise<void>;
}

export class Recorded {
  readonly recorder = new Recorder();
  /** Follows everything from the beginning. */
  readonly log: RecordedReader;
  readonly #options: TestTailraceOptions;
  readonly #readers: RecordedReader[] = [];
  readonly #tails: RecordedTail[] = [];
  readonly #others: Running[] = [];
  #tailrace: TestTailrace;
  #clients: Clients;

  private constructor(tailrace: TestTailrace, options: TestTailraceOptions) {
    this.#options = options;
    this.#tailrace = tailrace;
    this.#clients = recordingClients(tailrace.url, this.recorder);
    this.log = this.#read({ name: 'the log' });
  }

  static async start(options: TestTailraceOptions = {}): Promise<Recorded> {
    const recorded = new Recorded(await startTailrace(options), options);
    await recorded.log.placed();
    return recorded;
  }

  /** The server that runs now. */
  get tailrace(): TestTailrace {
    return this.#tailrace;
  }

  get clients(): Clients {
    return this.#clients;
  }

  /** Stops the server and starts another on the same database, at another address; readers go on there. */
  async restart(): Promise<void> {
    const { database, running } = this.#tailrace;
    await running.stop();
    this.#tailrace = await startTailrace({ ...this.#options, database });
    this.#clients = recordingClients(this.#tailrace.url, this.recorder);
  }

  /** A client and worker. Its instance has the same name unless told otherwise. */
  hand(name?: string, instanceId?: string): ByHand {
    return new ByHand(this.clients, name, instanceId);
  }

  /** One more reader, in place; judged with the others and stopped with the server. */
  async reader(wanted: Wanted): Promise<RecordedReader> {
    return await this.#read(wanted).placed();
  }

  /** Follows the output of an attempt; judged and stopped with the server. */
  tail(wanted: Omit<TailOptions, 'completion'> & Partial<Pick<TailOptions, 'completion'>>): RecordedTail {
    const tail = new RecordedTail({ completion: () => this.clients.completion, ...wanted });
    this.#tails.push(tail);
    return tail;
  }

  /**
   * One more server on the same database, whose clients are recorded into the same history. It is stopped with the first
   * one, after the judgment, if the test has not stopped it.
   */
  async another(environment: TestTailraceOptions['environment'] = {}): Promise<Another> {
    const { environment: own } = this.#options;
    const { database } = this.#tailrace;
    const { running, url } = await startTailrace({ database, environment: { ...own, ...environment } });
    this.#others.push(running);
    return { clients: recordingClients(url, this.recorder), stop: () => running.stop() };
  }

  /** Judges the history so far, and the tables by their own rules. Nothing may be under way. */
  async judge(): Promise<void> {
    expectSound(await this.#settled());
    const rules = await verify(this.#tailrace.running.engine.database);
    const broken = rules.filter(({ violations }) => violations.length > 0);
    if (broken.length === 0) return;
    throw new Error(broken.map(({ name, rule, violations }) => `${name}: ${rule}; not so: ${violations}`).join('\n'));
  }

  /** Judges the history, and stops the server whatever comes of it. */
  async stop(): Promise<void> {
    try {
      await this.judge();
    } catch (broken) {
      await this.#end().catch(() => undefined);
      throw broken;
    }
    await this.#end();
  }

  async #end(): Promise<void> {
    await Promise.all([...this.#readers, ...this.#tails].map((reader) => reader.stop()));
    const { database, running } = this.#tailrace;
    await Promise.all([running, ...this.#others].map((server) => server.stop()));
    if (!this.#options.database) await database.drop();
  }

  #read(wanted: Wanted): RecordedReader {
    const reader = new RecordedReader({ completion: () => this.clients.completion, ...wanted });
    this.#readers.push(reader);
    return reader;
  }

  /** What was committed may have consequences in transactions to come: slots of a wide join, skips, ends of flows. */
  async #isFollowed(): Promise<boolean> {
    return (await this.#tailrace.running.engine.database.query(followUps)).length === 0;
  }

  /** But for what waits for a person. */
  async #isRouted(): Promise<boolean> {
    const all = await readFinalSubscriptions(this.clients.admin, this.#told().namespaces);
    return all.every(({ behind, halted }) => halted || !behind);
  }

  #told(): Told {
    const { entries } = this.log;
    const inFlows = entries.filter(({ flowId }) => flowId !== '');
    return {
      namespaces: new Set(entries.map(({ namespace }) => namespace)),
      flows: new Map(inFlows.map(({ flowId, namespace }) => [flowId, namespace])),
      events: entries.some(({ kind }) => kind === LogEntryKind.EVENT_PUBLISHED),
      subscriptions: this.recorder.events.some(({ event }) => event === 'subscribed'),
      consumers: new Set(this.recorder.events.flatMap((one) => (one.event === 'delivered' ? [one.consumer] : []))),
    };
  }

  /** What was committed before a marker stands before it in the log; and nothing has moved around the marker. */
  async #settled(): Promise<History> {
    const hand = new ByHand(this.clients, 'marker');
    if (this.#told().subscriptions) await eventually(() => this.#isRouted());
    await eventually(() => this.#isFollowed());
    for (let tries = 0; tries < TRIES; tries++) {
      const before = await readFinalStates(this.clients, this.#told());
      const marker = await hand.createOne({ lane: 'end-of-history', type: 'marker' });
      const { cursor } = await this.log.entry(({ executionId }) => executionId === marker);
      const final = await readFinalStates(this.clients, this.#told());
      if (!isDeepStrictEqual(still(before), still(without(marker, final)))) continue;
      const end = positionOf(cursor);
      const whole = entriesOf(this.log.feed).filter(({ position }) => position <= end);
      await Promise.all(this.#readers.map((reader) => caughtUp(reader, whole)));
      const tails = this.#tails.map(({ told }) => told);
      return { events: this.recorder.events, feeds: this.#readers.map(({ feed }) => cutAt(end, feed)), tails, final };
    }
    throw new Error('executions kept moving, so their history cannot be judged');
  }
}

/** A reader with a filter gets no word of its own that nothing more is coming. */
async function caughtUp(reader: RecordedReader, whole: readonly FeedEntry[]): Promise<void> {
  const { selects } = reader.feed;
  const last = whole.findLast((entry) => selects?.(entry) ?? true);
  if (last) await reader.until(({ position }) => position >= last.position);
}

/** The feed up to a position; what came later belongs to a later judgment. */
function cutAt(end: bigint, feed: Feed): Feed {
  const messages: FeedMessage[] = [];
  for (const message of feed.messages) {
    if ('entries' in message) {
      const entries = message.entries.filter(({ position }) => position <= end);
      if (entries.length > 0) messages.push({ entries });
      if (entries.length < message.entries.length) break;
    } else if ('upTo' in message && message.upTo > end) {
      break;
    } else {
      messages.push(message);
    }
  }
  return { ...feed, messages };
}

/** Consumers go on beyond what they do not select. */
function still(final: FinalStates): FinalStates {
  return { ...final, consumers: [] };
}

function without(execution: string, final: FinalStates): FinalStates {
  return { ...final, executions: final.executions.filter((other) => other.execution !== execution) };
}
