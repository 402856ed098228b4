/**
 * Creates executions, cancels them, waits for them and watches them end.
 *
 * Every call is repeated while its refusals are passing ones (a lost connection, a draining server, a database that is
 * away), which is safe: creations carry request ids, the others may be repeated by contract. Refusals are
 * TailraceErrors. What has no method here is called through the generated clients.
 */
import { randomUUID } from 'node:crypto';
import { type Duration, durationFromMs } from '@bufbuild/protobuf/wkt';
import { type CallOptions, createClient, type Client as ServiceClient } from '@connectrpc/connect';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import {
  type AwaitExecutionsResponse,
  type AwaitedExecution,
  type AwaitFlowResponse,
  AwaitMode,
  CompletionService,
  FlowMilestone,
} from '../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import {
  type CancelExecutionResponse,
  type CancelFlowResponse,
  EngineService,
} from '../../gen/tailrace/v1/engine_service_pb.js';
import type { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { CompletionEntry, LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import { awaiting } from './awaiting.js';
import { toCancelPolicy } from './cancel-policy.js';
import type {
  AwaitConsumerOptions,
  AwaitFlowOptions,
  AwaitOptions,
  CancelOptions,
  ClientOptions,
  CreatedExecution,
  CreateResult,
  WatchCompletionsOptions,
  WatchFlowOptions,
  WatchLogOptions,
} from './client-options.js';
import { type Connection, checkConnection, openConnection } from './connection.js';
import { Consumers } from './consumers.js';
import { lengthOf } from './content.js';
import { fromItemError } from './errors.js';
import type { AnyEvents, EventSchemas } from './event-schemas.js';
import { type NewExecution, toSpec } from './execution-spec.js';
import type { Flow } from './flow.js';
import {
  type CreatedFlow,
  cancellationOf,
  creationOf,
  type ExtendedFlow,
  type ExtendOptions,
  extensionOf,
  type FlowCancelOptions,
  idsOf,
} from './flow-calls.js';
import { FlowWatch } from './flow-watch.js';
import type { NewEvent } from './new-event.js';
import { OptionRules } from './option-rules.js';
import { Publishing, type PublishOptions, type ReadStreamOptions } from './publishing.js';
import { Redrives } from './redrives.js';
import { retrying } from './retry.js';
import { split } from './split.js';
import { Subscriptions } from './subscriptions.js';
import { graphOf, madeOf, producing } from './tracing.js';
import { Watch } from './watch.js';

/** The server takes 1000 and, by default, 16 MiB. */
const CREATE_BOUNDS = { items: 1_000, bytes: 4 * 2 ** 20 };
/** A call that takes longer is given up and repeated. */
const CALL_TIMEOUT_MS = 15_000;
/** A flow may have thousands of members. */
const FLOW_TIMEOUT_MS = 60_000;

export class Client<E extends EventSchemas = AnyEvents> {
  readonly engine: ServiceClient<typeof EngineService>;
  readonly completions: ServiceClient<typeof CompletionService>;
  readonly deadLetters: ServiceClient<typeof DeadLetterService>;
  readonly admin: ServiceClient<typeof AdminService>;
  readonly namespace: string;
  /** The stored rules that turn events into executions. */
  readonly subscriptions: Subscriptions<E>;
  /** Named, durable followers of the log. */
  readonly consumers: Consumers;
  /** Bulk redrives of dead letters. */
  readonly redrives: Redrives;
  readonly #connection: Connection;
  readonly #retryForMs: number;
  readonly #events: E | undefined;
  readonly #publishing: Publishing<E>;

  /** Throws an InvalidOptionsError with everything that is wrong. Connects with the first call. */
  constructor(options: ClientOptions<E>) {
    const { namespace = '', retryForMs = 30_000, events } = options;
    const rules = new OptionRules();
    checkConnection(rules, options);
    rules.whole('retryForMs', retryForMs, 0, 3_600_000);
    rules.check('client');
    this.namespace = namespace;
    this.#retryForMs = retryForMs;
    this.#events = events;
    this.#connection = openConnection(options);
    const { transport } = this.#connection;
    this.engine = createClient(EngineService, transport);
    this.completions = createClient(CompletionService, transport);
    this.deadLetters = createClient(DeadLetterService, transport);
    this.admin = createClient(AdminService, transport);
    this.#publishing = new Publishing<E>({ engine: this.engine, namespace, schemas: events, retryForMs });
    this.subscriptions = new Subscriptions<E>({ admin: this.admin, namespace, schemas: events, retryForMs });
    this.consumers = new Consumers({ admin: this.admin, namespace, retryForMs });
    this.redrives = new Redrives({ deadLetters: this.deadLetters, namespace, retryForMs });
  }

  /** Ends the connection; calls and watches under way fail. */
  close(): void {
    this.#connection.close();
  }

  /** Throws a TailraceError if it is refused. */
  async create(execution: NewExecution<E>): Promise<CreatedExecution> {
    const [result] = await this.createMany([execution]);
    if (!result?.ok) throw result?.error ?? new Error('the server answered no result');
    const { ok, ...created } = result;
    return created;
  }

  /**
   * Any number, in calls of at most 1000; results in order, each for itself. With `atomic` all or none in one call,
   * which throws if one is refused.
   */
  async createMany(executions: readonly NewExecution<E>[], { atomic = false } = {}): Promise<CreateResult[]> {
    const specs = executions.map((execution) => toSpec(execution, this.#events));
    const results: CreateResult[] = [];
    for (const batch of atomic ? [specs] : split(specs, ({ input }) => lengthOf(input), CREATE_BOUNDS)) {
      const request = { namespace: this.namespace, executions: batch, atomic };
      const answer = await producing(madeOf('create', batch), () =>
        this.#call(() => this.engine.createExecutions(request, { timeoutMs: CALL_TIMEOUT_MS })),
      );
      for (const { result } of answer.results) {
        if (result.case === 'ok') {
          const { executionId, duplicate, state } = result.value;
          results.push({ ok: true, executionId, duplicate, state });
        } else if (result.case === 'error') {
          results.push({ ok: false, error: fromItemError(result.value) });
        }
      }
    }
    return results;
  }

  /** Waiting work ends at once; running work as `mode` says. A repeat answers the first outcome. */
  async cancel(executionId: string, options: CancelOptions = {}): Promise<CancelExecutionResponse> {
    const { reason = '', waitMs = 0, ...rules } = options;
    const request = {
      namespace: this.namespace,
      requestId: randomUUID(),
      executionId,
      reason,
      policy: toCancelPolicy(rules),
      wait: durationFromMs(waitMs),
    };
    return this.#call(() => this.engine.cancelExecution(request, { timeoutMs: waitMs + CALL_TIMEOUT_MS }));
  }

  /** All of it or nothing: throws a TailraceError if it is refused. */
  async createFlow<Made extends string>(flow: Flow<Made>): Promise<CreatedFlow<Made>> {
    const request = creationOf(flow, this.namespace);
    const answer = await producing(graphOf('create flow', flow.graph), () =>
      this.#call(() => this.engine.createFlow(request, { timeoutMs: FLOW_TIMEOUT_MS })),
    );
    const { flowId, revision, state, duplicate } = answer;
    return { flowId, ids: idsOf<Made>(answer), revision, state, duplicate };
  }

  /** Adds to an open flow what an `extension()` says, all of it or nothing. */
  async extendFlow<Made extends string, Existing extends string>(
    flowId: string,
    added: Flow<Made, Existing>,
    options: ExtendOptions<Made | Existing> = {},
  ): Promise<ExtendedFlow<Made>> {
    const request = extensionOf(flowId, added, options, this.namespace);
    const answer = await producing(graphOf('extend flow', added.graph), () =>
      this.#call(() => this.engine.extendFlow(request, { timeoutMs: FLOW_TIMEOUT_MS })),
    );
    const { revision, state, duplicate } = answer;
    return { ids: idsOf<Made>(answer), revision, state, duplicate };
  }

  /** Closes a flow, and joins of it that are open, to additions. `expectedRevision`: the one the caller saw. */
  async sealFlow(flowId: string, { expectedRevision = 0n } = {}): Promise<{ revision: bigint; state: FlowState }> {
    const request = { namespace: this.namespace, flowId, expectedRevision };
    const { revision, state } = await this.#call(() => this.engine.sealFlow(request, { timeoutMs: CALL_TIMEOUT_MS }));
    return { revision, state };
  }

  /** Decided in the call; members end right after, and `waitMs` waits for them. A repeat changes nothing. */
  async cancelFlow(flowId: string, options: FlowCancelOptions = {}): Promise<CancelFlowResponse> {
    const request = cancellationOf(flowId, options, this.namespace);
    const timeoutMs = (options.waitMs ?? 0) + CALL_TIMEOUT_MS;
    return this.#call(() => this.engine.cancelFlow(request, { timeoutMs }));
  }

  /** The execution once it has ended; without an `outcome` if the timeout passed first, which is no error. */
  async awaitExecution(executionId: string, options: AwaitOptions = {}): Promise<AwaitedExecution> {
    const { executions } = await this.awaitExecutions([executionId], options);
    if (!executions[0]) throw new Error('the server answered no execution');
    return executions[0];
  }

  /** Waits for `all` (default) or `any` of 1 to 1000 executions. `done` is false if the timeout passed first. */
  async awaitExecutions(
    executionIds: readonly string[],
    options: AwaitOptions & { readonly mode?: 'all' | 'any' } = {},
  ): Promise<AwaitExecutionsResponse> {
    const { mode = 'all', omitResults = false } = options;
    const request = {
      namespace: this.namespace,
      executionIds: [...executionIds],
      mode: mode === 'any' ? AwaitMode.ANY : AwaitMode.ALL,
      omitResults,
    };
    const call = (timeout: Duration, bounds: CallOptions) =>
      this.completions.awaitExecutions({ ...request, timeout }, bounds);
    return awaiting(call, options, this.#retryForMs);
  }

  /** Answers once its position is final. Throws a TailraceError if it is refused. */
  publish(event: NewEvent<E, PublishOptions>) {
    return this.#publishing.publishOne(event);
  }

  /**
   * Any number, in calls of at most 1000; results in order, each for itself, but a batch group stands or falls together.
   * With `atomic` all or none in one call, which throws if one is refused.
   */
  publishMany(events: readonly NewEvent<E, PublishOptions>[], { atomic = false } = {}) {
    return this.#publishing.publish(events, atomic);
  }

  /** Undefined if it was never accepted, or is kept no longer. */
  getEvent(eventId: string) {
    return this.#publishing.get(eventId);
  }

  /** The events of a stream, as far as it goes. Throws a TailraceError if there is no such stream. */
  readStream(stream: string, options: ReadStreamOptions = {}) {
    return this.#publishing.read(stream, options);
  }

  /** How a flow stands once it got there. `done` is false if the timeout passed first, which is no error. */
  async awaitFlow(flowId: string, options: AwaitFlowOptions = {}): Promise<AwaitFlowResponse> {
    const until = options.until === 'settled' ? FlowMilestone.SETTLED : FlowMilestone.ENDED;
    const request = { namespace: this.namespace, flowId, until };
    const call = (timeout: Duration, bounds: CallOptions) =>
      this.completions.awaitFlow({ ...request, timeout }, bounds);
    return awaiting(call, options, this.#retryForMs);
  }

  /**
   * Waits until the live generation of a consumer has handled all it has to up to a cursor, such as that of an event just
   * published: what was written can then be read from its projection. `done` is false if the timeout passed first.
   */
  async awaitConsumer(consumer: string, cursor: string, options: AwaitConsumerOptions = {}) {
    const request = { namespace: this.namespace, consumer, cursor };
    const call = (timeout: Duration, bounds: CallOptions) =>
      this.completions.awaitConsumer({ ...request, timeout }, bounds);
    const { done, cursor: reached } = await awaiting(call, options, this.#retryForMs);
    return { done, cursor: reached };
  }

  /** Resolves once the watch is in place. Iterate it; it resumes by itself (watch.ts). */
  watchCompletions(options: WatchCompletionsOptions = {}): Promise<Watch<CompletionEntry>> {
    const { filter, omitResults = false } = options;
    const wanted = { namespace: this.namespace, omitResults, ...(filter && { filter }) };
    return Watch.open<CompletionEntry>(
      (start, signal) => this.completions.watchCompletions({ ...wanted, ...start }, { signal }),
      options,
      this.#retryForMs,
    );
  }

  /** The same over the whole log. */
  watchLog(options: WatchLogOptions = {}): Promise<Watch<LogEntry>> {
    const { filter, omitPayloads = false } = options;
    const wanted = { namespace: this.namespace, omitPayloads, ...(filter && { filter }) };
    return Watch.open<LogEntry>(
      (start, signal) => this.completions.watchLog({ ...wanted, ...start }, { signal }),
      options,
      this.#retryForMs,
    );
  }

  /** Resolves with the flow's present state. Iterate what happens to it; the iteration ends when the flow has. */
  watchFlow(flowId: string, options: WatchFlowOptions = {}): Promise<FlowWatch> {
    const { omitPayloads = false } = options;
    const wanted = { namespace: this.namespace, flowId, omitPayloads };
    const open = (cursor: string, signal: AbortSignal) => this.completions.watchFlow({ ...wanted, cursor }, { signal });
    return FlowWatch.open(open, options, this.#retryForMs);
  }

  #call<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return retrying(call, { forMs: this.#retryForMs, signal });
  }
}
