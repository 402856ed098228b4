/** Follows one flow to its end, over servers that are stopped under it, and remembers what it was told. */
import { type Client, ConnectError } from '@connectrpc/connect';
import type { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import type { Flow } from '../../gen/tailrace/v1/flow_pb.js';
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import { asTailraceError } from '../../src/client/errors.js';
import { pause } from '../../src/runtime/clock.js';

const RESUME_MS = 50;

export class FlowFollower {
  /** As they were shown, over all streams. */
  readonly states: Flow[] = [];
  readonly entries: LogEntry[] = [];
  /** Errors that ended streams. */
  readonly cuts: ConnectError[] = [];
  /** Resolves with the final state. */
  readonly end: Promise<Flow>;
  /** Where it began: the cursor it was given, or that of the first state. */
  begun: string;
  #cursor: string;
  readonly #waiting = new Set<() => void>();

  /** `completion` is asked anew for every stream. */
  constructor(
    readonly completion: () => Client<typeof CompletionService>,
    readonly flowId: string,
    cursor = '',
  ) {
    this.begun = cursor;
    this.#cursor = cursor;
    this.end = this.#follow();
    this.end.catch(() => undefined);
  }

  /** It began after the flow had ended, so that there was nothing to follow. */
  get late(): boolean {
    return this.#cursor === this.begun && this.states.length === 1;
  }

  get cursors(): string[] {
    return this.entries.map(({ cursor }) => cursor);
  }

  /** Waits for the first state. */
  async placed(): Promise<this> {
    return await this.until(() => this.states.length > 0);
  }

  /** Waits until it is so; fails when the flow has ended without it. */
  async until(isSo: () => boolean): Promise<this> {
    let over = false;
    const ended = this.end.finally(() => {
      over = true;
    });
    while (!isSo()) {
      if (over) throw new Error('the watch is over');
      let told: () => void = () => undefined;
      const more = new Promise<void>((resolve) => {
        told = resolve;
        this.#waiting.add(told);
      });
      await Promise.race([more, ended]);
      this.#waiting.delete(told);
    }
    return this;
  }

  async #follow(): Promise<Flow> {
    for (;;) {
      try {
        let last: Flow | undefined;
        for await (const message of this.completion().watchFlow({ flowId: this.flowId, cursor: this.#cursor })) {
          const { flow, entries, heartbeat } = message;
          last = flow;
          if (flow) this.states.push(flow);
          this.entries.push(...entries);
          this.#cursor = heartbeat?.cursor ?? entries.at(-1)?.cursor ?? this.#cursor;
          if (this.begun === '') this.begun = this.#cursor;
          for (const tell of this.#waiting) tell();
        }
        if (last) return last;
        throw new Error('the stream ended without a state');
      } catch (error) {
        if (!asTailraceError(error).passing) throw error;
        this.cuts.push(ConnectError.from(error));
        await pause(RESUME_MS);
      }
    }
  }
}
