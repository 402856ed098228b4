/** Streams in memory, read as those of the database are, but one frame is durable like the other. */
import { cursorAt, DURABLE, type FramePage, type FrameSource, type StreamFrame } from '../../src/frames/source.js';
import type { Close, PageBounds, StreamPlace, StreamWanted } from '../../src/repository/frames/index.js';

export const BEGINNING: StreamPlace = { position: -1, durable: 0, version: 0, passing: 0 };
const ENDED_AT = new Date(0);

export class MemoryFrames implements FrameSource {
  readonly #streams = new Map<string, Buffer[]>();
  readonly #closed = new Map<string, Close>();
  /** How many streams each read asked for. */
  readonly reads: number[] = [];
  /** Thrown by the next read. */
  failure: unknown;
  /** Called while a read is under way, after it has read. */
  meanwhile: () => void = () => undefined;

  append(execution: string, ...texts: string[]): void {
    this.#streams.set(execution, [...this.#of(execution), ...texts.map((text) => Buffer.from(text))]);
  }

  close(execution: string): void {
    this.#closed.set(execution, { outcome: 1, state: 7, endedAt: ENDED_AT });
  }

  async read(wanted: readonly StreamWanted[], bounds: PageBounds): Promise<(FramePage | undefined)[]> {
    this.reads.push(wanted.length);
    const { failure } = this;
    this.failure = undefined;
    if (failure) throw failure;
    const pages = wanted.map((one) => this.#page(one, bounds));
    await Promise.resolve();
    this.meanwhile();
    return pages;
  }

  #page(wanted: StreamWanted, bounds: PageBounds): FramePage | undefined {
    const { execution, place } = wanted;
    const all = this.#of(execution);
    const closed = this.#closed.get(execution);
    if (all.length <= place.position && !closed) return undefined;
    const frames = all.slice(place.durable, place.durable + bounds.frames).map((payload, i): StreamFrame => {
      const number = place.durable + i + 1;
      const next = { ...place, position: number, durable: number };
      const shown = { mode: DURABLE, number, at: ENDED_AT, type: '', payloadType: 'text/plain', payload, whole: false };
      return { ...shown, place: next, cursor: cursorAt(wanted, next), bytes: payload.length };
    });
    const end = { ...place, position: all.length, durable: all.length };
    const more = place.durable + frames.length < all.length;
    return { frames, place: frames.at(-1)?.place ?? end, more, closed: more ? undefined : closed };
  }

  #of(execution: string): Buffer[] {
    return this.#streams.get(execution) ?? [];
  }
}
