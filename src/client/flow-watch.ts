/** A watch of one flow: its state, what happens to it, and its state when it has ended. It resumes as any watch does. */
import type { WatchFlowResponse } from '../../gen/tailrace/v1/completion_service_pb.js';
import { type Flow as FlowSnapshot, FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import type { WatchFlowOptions } from './client-options.js';
import { type Start, Watch } from './watch.js';

export type { FlowSnapshot };

type OpenFlowStream = (cursor: string, signal: AbortSignal) => AsyncIterable<WatchFlowResponse>;

export class FlowWatch implements AsyncIterable<LogEntry> {
  readonly #watch: Watch<LogEntry>;
  readonly #shown: { flow?: FlowSnapshot };

  private constructor(watch: Watch<LogEntry>, shown: { flow?: FlowSnapshot }) {
    this.#watch = watch;
    this.#shown = shown;
  }

  static async open(open: OpenFlowStream, options: WatchFlowOptions, retryForMs: number): Promise<FlowWatch> {
    const shown: { flow?: FlowSnapshot } = {};
    const { cursor, ...others } = options;
    async function* messages(start: Start, signal: AbortSignal): AsyncGenerator<WatchFlowResponse> {
      for await (const message of open('cursor' in start ? start.cursor : '', signal)) {
        if (message.flow) shown.flow = message.flow;
        yield message;
      }
    }
    const wanted = cursor === undefined ? others : { ...others, from: { cursor } };
    return new FlowWatch(await Watch.open(messages, wanted, retryForMs, isFinal), shown);
  }

  /** Its state when the watch was opened, or last resumed; once the iteration is over, its final one. */
  get flow(): FlowSnapshot {
    if (this.#shown.flow === undefined) throw new Error('the watch was closed before it was in place');
    return this.#shown.flow;
  }

  /** Resume point: after the last entry handed out. */
  get cursor(): string {
    return this.#watch.cursor;
  }

  /** Ends the watch and its iteration. */
  close(): void {
    this.#watch.close();
  }

  /** One iteration only. Leaving the loop closes the watch. */
  [Symbol.asyncIterator](): AsyncGenerator<LogEntry, void> {
    return this.#watch[Symbol.asyncIterator]();
  }
}

/** Nothing follows a state that is an end, unless entries do, and then it comes again. */
function isFinal(message: { readonly flow?: FlowSnapshot | undefined }): boolean {
  const state = message.flow?.state ?? FlowState.UNSPECIFIED;
  return state === FlowState.SUCCEEDED || state === FlowState.FAILED || state === FlowState.CANCELED;
}
