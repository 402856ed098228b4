/** Handlers of the worker library that emit frames when they are told to. */
import { randomBytes } from 'node:crypto';
import { bytes, Client } from '../../src/client/index.js';
import { type HandlerContext, Worker } from '../../src/worker/index.js';
import { Tally } from './contestant.js';

const TYPE = 'writer';
const PATIENCE_MS = 30_000;

const BODY = randomBytes(65_536);
const LEAST_BYTES = 40;
const MORE_BYTES = 200;

/** What stands in one frame, numbered from 1: 140 bytes in the middle, of a length and with content of its own. */
export function frameOf(stream: number, number: number): Uint8Array {
  const place = (stream * 7_919 + number * 131) % (BODY.length - LEAST_BYTES - MORE_BYTES);
  return BODY.subarray(place, place + LEAST_BYTES + ((stream + number * 37) % MORE_BYTES));
}

export interface WrittenStream {
  readonly executionId: string;
  /** When each frame was due, by its number less one. */
  readonly dueMs: number[];
}

export class FrameWriters {
  readonly #client: Client;
  readonly #worker: Worker;
  readonly #contexts: HandlerContext[] = [];
  readonly #streams: WrittenStream[] = [];
  readonly #started = new Tally();
  #end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });

  private constructor(url: string, streams: number) {
    this.#client = new Client({ url });
    this.#worker = new Worker({ url, slots: streams, leaseDurationMs: 60_000 });
    this.#worker.handle(TYPE, async (context) => {
      this.#contexts.push(context);
      this.#streams.push({ executionId: context.executionId, dueMs: [] });
      this.#started.add(1);
      await this.#ended;
    });
  }

  /** Resolves once all of them run. */
  static async start(url: string, streams: number): Promise<FrameWriters> {
    const writers = new FrameWriters(url, streams);
    await writers.#worker.start();
    const results = await writers.#client.createMany(Array.from({ length: streams }, () => ({ type: TYPE })));
    for (const result of results) if (!result.ok) throw result.error;
    await writers.#started.reach(streams, PATIENCE_MS);
    return writers;
  }

  get streams(): readonly WrittenStream[] {
    return this.#streams;
  }

  /** Another frame of one stream after the other. */
  emit(ordinal: number, dueMs: number): void {
    const stream = ordinal % this.#streams.length;
    const due = this.#streams[stream]?.dueMs ?? [];
    due.push(dueMs);
    // A refusal comes up when the handler ends.
    void this.#contexts[stream]?.emitFrame(bytes(frameOf(stream, due.length)));
  }

  /** All of them return. */
  end(): void {
    this.#end();
  }

  async stop(): Promise<void> {
    this.end();
    await this.#worker.stop();
    this.#client.close();
  }
}
