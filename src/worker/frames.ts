/**
 * The output of an attempt, sent while its handler works.
 *
 * Frames gather for a moment, or while a call is under way, and go in order, one call at a time. Whoever awaits
 * `emit()` is slowed down to what the engine takes: at most a batch waits behind the one that is sent. Durable frames are
 * sent with the number of those before them, so that a call that is repeated appends nothing twice; the others may be seen
 * twice after a lost answer, which neither a summary nor a best effort minds.
 *
 * A refusal stands: nothing more is sent, whoever emits is told, and the handler does not complete.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { FrameMode, type FrameSpecSchema } from '../../gen/tailrace/v1/frame_pb.js';
import type { Payload } from '../../gen/tailrace/v1/payload_pb.js';
import { ContentError, toPayload } from '../client/content.js';
import { TailraceError } from '../client/errors.js';
import { split } from '../client/split.js';
import { monotonicMs } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import { PermanentError } from './handler-errors.js';
import type { LeaseCalls } from './lease-calls.js';

export interface FrameOptions {
  /** The handler's own name for what this is, up to 200 bytes, for example `token`. Default none. */
  readonly type?: string;
  /**
   * `durable` (default): stored, seen once by every reader; 10,000 per attempt. `summary`: a JSON merge patch (RFC 7396) of
   * the attempt's one document, 256 KiB. `best_effort`: for whoever reads now; the last 1,024, or 30 s.
   */
  readonly mode?: 'durable' | 'summary' | 'best_effort';
}

/** The engine will not take a frame, whoever sends it: there are too many, or it is too large or no patch. */
export class FramesRefusedError extends PermanentError {
  override readonly name = 'FramesRefusedError';

  constructor(cause: TailraceError) {
    super(`output was refused: ${cause.message}`, { cause });
  }
}

interface Frame {
  readonly spec: MessageInitShape<typeof FrameSpecSchema>;
  readonly durable: boolean;
  readonly bytes: number;
  readonly emittedMs: number;
}

interface Waiting {
  readonly isSo: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const MODES = {
  durable: FrameMode.DURABLE,
  summary: FrameMode.SUMMARY,
  best_effort: FrameMode.BEST_EFFORT,
} as const;
const BATCH = { items: 256, bytes: 2 ** 20 };
/** One batch under way, and one that waits. */
const MOST = { items: 2 * BATCH.items, bytes: 2 * BATCH.bytes };
/** How long a frame waits for others. */
const GATHER_MS = 20;
/** More durable frames than an attempt can have: a call that expects them is refused, and told how many there are. */
const NEVER = 2n ** 40n;

export class Frames {
  readonly #calls: LeaseCalls;
  readonly #hurry = new WakeSignal();
  #queue: Frame[] = [];
  #waiting: Waiting[] = [];
  #emitted = 0;
  #sent = 0;
  /** Of what waits or is under way. */
  #bytes = 0;
  /** Everything up to here is wanted at once. */
  #hurried = 0;
  #sending = false;
  #closed = false;
  #refusal: Error | undefined;
  /** Durable frames that the attempt has. Undefined: an earlier call of the handler may have left some. */
  #count: bigint | undefined;

  constructor(calls: LeaseCalls) {
    this.#calls = calls;
    this.#count = calls.lease.claim.resume ? undefined : 0n;
  }

  /** Resolves when there is room for more. Throws a ContentError for what cannot be a frame. */
  emit(content: unknown, { type = '', mode = 'durable' }: FrameOptions = {}): Promise<void> {
    const payload = payloadOf(content);
    if (this.#closed) return unawaited(Promise.reject(new Error('the handler has ended: its output is closed')));
    if (this.#refusal) return unawaited(Promise.reject(this.#refusal));
    const bytes = bytesOf(payload);
    this.#queue.push({
      spec: { mode: MODES[mode], type, payload },
      bytes,
      durable: mode === 'durable',
      emittedMs: monotonicMs(),
    });
    this.#emitted++;
    this.#bytes += bytes;
    if (this.#queue.length >= BATCH.items) this.#hurry.wake();
    if (!this.#sending) void this.#send();
    return this.#when(() => this.#emitted - this.#sent <= MOST.items && this.#bytes <= MOST.bytes);
  }

  /** Resolves when everything that was emitted has been taken by the engine. */
  flush(): Promise<void> {
    this.#hurried = this.#emitted;
    this.#hurry.wake();
    const all = this.#emitted;
    return this.#when(() => this.#sent >= all);
  }

  /** Flushes, and takes no more. */
  close(): Promise<void> {
    this.#closed = true;
    return this.flush();
  }

  #when(isSo: () => boolean): Promise<void> {
    const told = new Promise<void>((resolve, reject) => {
      if (this.#refusal) reject(this.#refusal);
      else if (isSo()) resolve();
      else this.#waiting.push({ isSo, resolve, reject });
    });
    return unawaited(told);
  }

  async #send(): Promise<void> {
    this.#sending = true;
    while (this.#queue.length > 0 && !this.#refusal) {
      await this.#gather();
      const [batch = []] = split(this.#queue.slice(0, BATCH.items), ({ bytes }) => bytes, BATCH);
      try {
        await this.#append(batch);
        this.#queue.splice(0, batch.length);
        this.#sent += batch.length;
        this.#bytes -= batch.reduce((sum, { bytes }) => sum + bytes, 0);
      } catch (error) {
        this.#refusal = refusalOf(error);
        this.#queue = [];
      }
      this.#tell();
    }
    this.#sending = false;
  }

  async #gather(): Promise<void> {
    const [oldest] = this.#queue;
    const endMs = (oldest?.emittedMs ?? 0) + GATHER_MS;
    while (this.#queue.length < BATCH.items && this.#hurried <= this.#sent && monotonicMs() < endMs) {
      await this.#hurry.wait(endMs - monotonicMs());
    }
  }

  async #append(batch: readonly Frame[]): Promise<void> {
    const durable = batch.some((frame) => frame.durable);
    if (durable) this.#count ??= await this.#counted(batch);
    const frames = batch.map(({ spec }) => spec);
    const expected = durable && this.#count !== undefined ? { expectedCount: this.#count } : {};
    const answer = await this.#calls.send((engine, under, bounds) =>
      engine.appendFrames({ ...under, frames, ...expected }, bounds),
    );
    if (this.#count !== undefined) this.#count = answer.count;
    this.#calls.heed(answer.cancelRequest);
  }

  /** How many durable frames an earlier call of the handler has left: asked for by a call that appends nothing. */
  async #counted(batch: readonly Frame[]): Promise<bigint> {
    const frames = batch.filter(({ durable }) => durable).map(({ spec }) => spec);
    try {
      const ask = { frames: frames.slice(0, 1), expectedCount: NEVER };
      const { count } = await this.#calls.send((engine, under, bounds) =>
        engine.appendFrames({ ...under, ...ask }, bounds),
      );
      return count;
    } catch (error) {
      if (!(error instanceof TailraceError) || error.reason !== 'VERSION_CONFLICT') throw error;
      return BigInt(error.metadata['current_count'] ?? 0);
    }
  }

  #tell(): void {
    const [told, waiting] = [this.#waiting, [] as Waiting[]];
    for (const each of told) {
      if (this.#refusal) each.reject(this.#refusal);
      else if (each.isSo()) each.resolve();
      else waiting.push(each);
    }
    this.#waiting = waiting;
  }
}

/** Need not be awaited: a refusal comes up again, and one that comes after the end is nobody's business. */
function unawaited(told: Promise<void>): Promise<void> {
  told.catch(() => {});
  return told;
}

/** What passes by itself, or ends the handler anyway, is what it is. */
function refusalOf(error: unknown): Error {
  if (!(error instanceof TailraceError)) return error instanceof Error ? error : new Error(String(error));
  return error.passing || error.reason === 'UNIMPLEMENTED' ? error : new FramesRefusedError(error);
}

/** Bytes are copied: their owner may use them again before they are sent. */
function payloadOf(content: unknown): Payload {
  const payload = toPayload(content);
  if (!payload) throw new ContentError('a frame has content');
  if (payload.body.case !== 'data') return payload;
  return { ...payload, body: { case: 'data', value: Uint8Array.from(payload.body.value) } };
}

function bytesOf({ body }: Payload): number {
  return body.case === 'text' || body.case === 'data' ? Buffer.byteLength(body.value) : 0;
}
