/** The parts of an engine that the log's tests need: work goes in, ends, and is seen. No sweepers, no pulse. */
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { AfterCommit } from '../../src/dispatch/after-commit.js';
import { ConsumerWakes } from '../../src/dispatch/consumer-wakes.js';
import { Registry } from '../../src/dispatch/registry.js';
import { EndCall, ExecutionState } from '../../src/domain/states.js';
import { RecordFilter } from '../../src/log/filter.js';
import { LiveLog, type LiveLogOptions, type WatchStart } from '../../src/log/live-log.js';
import { LogPages } from '../../src/log/pages.js';
import { DatabaseLogSource, type LogSourceOptions } from '../../src/log/source.js';
import type { WatchMessage } from '../../src/log/watcher.js';
import { Sequencer } from '../../src/loops/sequencer.js';
import { claimExecutions, type Granted } from '../../src/repository/claims/index.js';
import { Database } from '../../src/repository/database.js';
import { createExecutions } from '../../src/repository/executions/index.js';
import { endAttempts } from '../../src/repository/leases/index.js';
import { readLogHead } from '../../src/repository/log/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { wallMs } from '../../src/runtime/clock.js';
import type { CompletionDependencies } from '../../src/services/completion/index.js';
import type { TestDatabase } from './postgres.js';

export const NAMESPACE = 1;

const SILENT: AfterCommit = { queued() {}, freed() {}, due() {}, appended() {}, committed() {} };

export interface Work {
  readonly namespace?: number;
  readonly lane?: string;
  readonly type?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

export class LogEngine {
  readonly database: Database;
  readonly live: LiveLog;
  readonly errors: unknown[] = [];
  /** What services tell and hear beside the log; nobody listens. */
  readonly hints: Pick<CompletionDependencies, 'after' | 'consumerWakes' | 'pages' | 'maxPayloadBytes' | 'registry'>;
  readonly #sequencer: Sequencer;
  readonly #stop = new AbortController();

  constructor({ url, schema }: TestDatabase, options: LiveLogOptions & LogSourceOptions = {}) {
    this.database = new Database({ url, schema, connections: 4 });
    const source = new DatabaseLogSource(this.database, options);
    this.live = new LiveLog(source, options);
    const pages = new LogPages(source);
    const registry = new Registry(this.database);
    this.hints = { after: SILENT, consumerWakes: new ConsumerWakes(), maxPayloadBytes: 4_096, pages, registry };
    this.#sequencer = new Sequencer({
      runner: this.database,
      onHead: (head) => {
        this.live.wake(head);
        pages.reached(head);
      },
      onError: (_, error) => this.errors.push(error),
    });
    this.#sequencer.start();
    setMaxListeners(0, this.#stop.signal); // all watches of a test share it
  }

  nudge(): void {
    this.#sequencer.nudge();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.live.close();
    await this.#sequencer.stop();
    await this.database.close();
  }

  async create(count: number, work: Work = {}): Promise<string[]> {
    const { namespace = NAMESPACE, lane = 'default', type = 'echo', tags = {} } = work;
    const [made] = await internClasses(this.database, [{ namespace, lane, type, capabilities: [] }]);
    const answers = await createExecutions(
      this.database,
      Array.from({ length: count }, () => ({
        id: uuidV7(),
        namespace,
        class: made?.id ?? 0,
        requestId: null,
        hash: Buffer.alloc(0),
        priority: 0,
        runAt: null,
        delayMs: null,
        ttlMs: null,
        deadline: null,
        timeoutMs: null,
        retry: { maxAttempts: null, initialMs: null, factor: null, capMs: null, maxReclaims: null, countLost: null },
        tags,
        input: null,
        redrive: null,
        flow: null,
        parent: null,
        concurrencyKey: null,
      })),
    );
    this.nudge();
    return answers.map(({ execution }) => execution);
  }

  async claim(
    limit: number,
    { namespace = NAMESPACE, lane = 'default', type = 'echo' }: Work = {},
  ): Promise<Granted[]> {
    const [made] = await internClasses(this.database, [{ namespace, lane, type, capabilities: [] }]);
    const line = { class: made?.id ?? 0, lane: made?.lane ?? 0, weight: 1 };
    const { granted } = await claimExecutions(
      this.database,
      [{ ...line, fromPriority: -1_000, fromSeq: 0n, toPriority: 1_001 }],
      limit,
      { namespace, instance: 'tester', name: 'tester', leaseMs: 60_000, beginMs: null },
    );
    this.nudge();
    return granted;
  }

  async complete(granted: readonly Granted[], result = 'done', namespace = NAMESPACE): Promise<void> {
    const body = Buffer.from(result);
    await endAttempts(
      this.database,
      EndCall.COMPLETE,
      granted.map(({ execution, lease, token }) => ({
        namespace,
        execution,
        lease,
        token,
        hash: Buffer.alloc(0),
        failure: null,
        message: null,
        runAt: null,
        delayMs: null,
        content: { type: 'text/plain', body },
      })),
    );
    this.nudge();
  }

  /** Creates executions and completes them. */
  async run(count: number, work: Work = {}): Promise<string[]> {
    const ids = await this.create(count, work);
    await this.complete(await this.claim(count, work), 'done', work.namespace);
    return ids;
  }

  /** The head, once everything committed has its position. */
  async settled(): Promise<bigint> {
    for (;;) {
      const { head, unnumbered } = await readLogHead(this.database);
      if (!unnumbered) return head;
    }
  }

  watch(start: WatchStart, filter: Partial<ConstructorParameters<typeof RecordFilter>[0]> = {}): Watch {
    const namespace = filter.namespace ?? NAMESPACE;
    const wanted = { namespace, start, filter: new RecordFilter({ namespace, ...filter }) };
    return new Watch(this.live.watch(wanted, this.#stop.signal));
  }

  completions(start: WatchStart): Watch {
    return this.watch(start, { terminal: true });
  }
}

/** Takes messages off a watch one by one. */
export class Watch {
  readonly #messages: AsyncGenerator<WatchMessage, void>;
  cursor = '';

  constructor(messages: AsyncGenerator<WatchMessage, void>) {
    this.#messages = messages;
  }

  async next(): Promise<WatchMessage> {
    const { value } = await this.#messages.next();
    if (!value) throw new Error('the watch has ended');
    this.cursor = value.cursor;
    return value;
  }

  /** The next `count` records or a few more, heartbeats left out. */
  async take(count: number): Promise<WatchMessage['records'][number][]> {
    const records: WatchMessage['records'][number][] = [];
    while (records.length < count) records.push(...(await this.next()).records);
    return records;
  }

  async hangUp(): Promise<void> {
    await this.#messages.return();
  }
}

export const SUCCEEDED: number = ExecutionState.SUCCEEDED;

/** As a client makes them. */
export function uuidV7(): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(wallMs(), 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
