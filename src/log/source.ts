/** Where records come from: pages of the log, and what they speak of, in as few statements as possible. */
import type { Runner } from '../repository/database.js';
import { readEvents } from '../repository/events/index.js';
import {
  type ExecutionDetail,
  type FlowStanding,
  type LogEntry,
  type LogFloorRows,
  type LogHead,
  readDetails,
  readFlowNames,
  readFlowStandings,
  readLog,
  readLogFloors,
  readLogHead,
  readPositions,
  readStates,
} from '../repository/log/index.js';
import { Gathering } from './gathering.js';
import { NameCache } from './names.js';
import { LogRecord } from './record.js';

/** An execution with the names that its class stands for. */
export interface KnownExecution extends ExecutionDetail {
  readonly lane: string;
  readonly type: string;
}

/** Consecutive records; never empty. */
export type Page = readonly [LogRecord, ...LogRecord[]];

export interface LogSource {
  /** A page with at least as many has more behind it. */
  readonly pageEntries: number;
  /** With the floor of a namespace, where one is named. */
  head(namespace?: number): Promise<LogHead>;
  floors(): Promise<LogFloorRows>;
  /** From this position on; undefined when nothing stands there yet. */
  page(from: bigint): Promise<Page | undefined>;
  /** Fills in the details of these records, in one statement per kind of subject; none when they have them. */
  detail(records: readonly LogRecord[]): Promise<void>;
  /** Present states, of those that exist. */
  states(ids: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Executions by id; what does not exist is missing. Calls made while one is under way share the next statement. */
  executions(ids: readonly string[]): Promise<ReadonlyMap<string, KnownExecution>>;
  /** Where flows stand, by id; what does not exist is missing. Calls share statements as those for executions do. */
  flows(ids: readonly string[]): Promise<ReadonlyMap<string, FlowStanding>>;
  /** Positions of rows of the log, 0 where they are gone; those that have none yet are missing. */
  positions(seqs: readonly bigint[]): Promise<ReadonlyMap<bigint, bigint>>;
}

export interface LogSourceOptions {
  /** Entries per page, about. Default 512. */
  readonly pageEntries?: number;
  /** Results and payloads of events up to this size come along. Default 64 KiB. */
  readonly inlineBytes?: number;
}

export class DatabaseLogSource implements LogSource {
  readonly pageEntries: number;
  readonly #runner: Runner;
  readonly #names: NameCache;
  readonly #inlineBytes: number;
  readonly #executions = new Gathering((ids) => this.#read(ids));
  readonly #flows = new Gathering((ids) => this.#readFlows(ids));

  constructor(runner: Runner, options: LogSourceOptions = {}) {
    this.#runner = runner;
    this.#names = new NameCache(runner);
    this.pageEntries = options.pageEntries ?? 512;
    this.#inlineBytes = options.inlineBytes ?? 64 * 1024;
  }

  async head(namespace?: number): Promise<LogHead> {
    return await readLogHead(this.#runner, namespace);
  }

  async floors(): Promise<LogFloorRows> {
    return await readLogFloors(this.#runner);
  }

  async page(from: bigint): Promise<Page | undefined> {
    const entries = await readLog(this.#runner, from, this.pageEntries);
    await this.#names.load(entries);
    const [first, ...rest] = entries.map((entry) => {
      const names = this.#names.classOf(entry.class);
      const lane = names?.lane ?? laneOf(entry);
      return new LogRecord(entry, this.#names.namespaceOf(entry.namespace), lane, names?.type ?? '');
    });
    return first && [first, ...rest];
  }

  async detail(records: readonly LogRecord[]): Promise<void> {
    const ids = new Set<string>();
    const flowIds = new Set<string>();
    await this.#fillEvents(records);
    for (const { detailed, entry, ofFlow, ofEvent } of records) {
      if (detailed || ofEvent) continue;
      if (entry.execution) ids.add(entry.execution);
      else if (ofFlow && entry.flow) flowIds.add(entry.flow);
    }
    if (ids.size > 0) {
      const found = await this.#read(ids);
      for (const record of records) {
        if (!record.ofEvent) record.detail ??= found.get(record.entry.execution ?? '');
      }
    }
    if (flowIds.size > 0) {
      const found = new Map((await readFlowNames(this.#runner, [...flowIds])).map((flow) => [flow.id, flow]));
      for (const record of records) if (record.ofFlow) record.flow ??= found.get(record.entry.flow ?? '');
    }
  }

  async executions(ids: readonly string[]): Promise<ReadonlyMap<string, KnownExecution>> {
    return await this.#executions.ask(ids);
  }

  async flows(ids: readonly string[]): Promise<ReadonlyMap<string, FlowStanding>> {
    return await this.#flows.ask(ids);
  }

  async positions(seqs: readonly bigint[]): Promise<ReadonlyMap<bigint, bigint>> {
    return await readPositions(this.#runner, seqs);
  }

  async states(ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return await readStates(this.#runner, ids);
  }

  async #fillEvents(records: readonly LogRecord[]): Promise<void> {
    const wanted = new Map<string, LogRecord>();
    for (const record of records) if (!record.detailed && record.eventId) wanted.set(record.eventId, record);
    if (wanted.size === 0) return;
    for (const event of await readEvents(this.#runner, [...wanted.keys()], this.#inlineBytes, false)) {
      const record = wanted.get(event.id);
      if (record) record.event = event;
    }
  }

  async #readFlows(ids: ReadonlySet<string>): Promise<ReadonlyMap<string, FlowStanding>> {
    return new Map((await readFlowStandings(this.#runner, [...ids])).map((flow) => [flow.id, flow]));
  }

  async #read(ids: ReadonlySet<string>): Promise<ReadonlyMap<string, KnownExecution>> {
    const found = await readDetails(this.#runner, [...ids], this.#inlineBytes);
    await this.#names.load(found);
    return new Map(
      found.map((detail) => {
        const { lane = '', type = '' } = this.#names.classOf(detail.class) ?? {};
        return [detail.id, Object.assign(detail, { lane, type })];
      }),
    );
  }
}

/** The kinds lane.*, by the contract's numbers. */
const LANE_KINDS = { first: 100, last: 109 } as const;

/** What was done to a lane itself has no class; its body names the lane. */
function laneOf({ kind, body }: LogEntry): string {
  if (kind < LANE_KINDS.first || kind > LANE_KINDS.last || body === null) return '';
  const { lane } = JSON.parse(body) as { lane?: unknown };
  return typeof lane === 'string' ? lane : '';
}
