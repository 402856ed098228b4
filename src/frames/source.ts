/**
 * Where frames come from: pages of many streams at once, each frame with the cursor behind it.
 *
 * Whoever has seen nothing of a summary, or so little that the patches since are not kept any more, gets the whole document
 * in their place, before everything else of its page.
 */
import { encodeFrameCursor } from '../domain/frame-cursor.js';
import type { Runner } from '../repository/database.js';
import {
  type Close,
  type PageBounds,
  readFrames,
  readSummaries,
  type StoredFrame,
  type StreamPage,
  type StreamPlace,
  type StreamRef,
  type StreamWanted,
  type Summary,
} from '../repository/frames/index.js';

export const DURABLE = 1;
export const SUMMARY = 2;
export const BEST_EFFORT = 3;
export const ALL_MODES: readonly number[] = [DURABLE, SUMMARY, BEST_EFFORT];

export interface StreamFrame extends Omit<StoredFrame, 'position'> {
  /** The payload is the whole document, at the version that its number says. */
  readonly whole: boolean;
  /** Where its reader stands after it. */
  readonly place: StreamPlace;
  readonly cursor: string;
  /** What it takes in a buffer, about. */
  readonly bytes: number;
}

export interface FramePage {
  readonly frames: readonly StreamFrame[];
  /** Where its reader stands after it. */
  readonly place: StreamPlace;
  readonly more: boolean;
  /** How the attempt ended; only when nothing is left to come. */
  readonly closed: Close | undefined;
}

export interface FrameSource {
  /** In the order of what is wanted; undefined where nothing is new. */
  read(wanted: readonly StreamWanted[], bounds: PageBounds): Promise<(FramePage | undefined)[]>;
}

const FRAME_BYTES = 200;

export class DatabaseFrameSource implements FrameSource {
  readonly #runner: Runner;

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  async read(wanted: readonly StreamWanted[], bounds: PageBounds): Promise<(FramePage | undefined)[]> {
    const begun = await this.#documents(wanted, (_, { place }) => place.version < 0);
    const from = wanted.map((one, i) => {
      const version = begun[i]?.version ?? Math.max(0, one.place.version);
      return { ...one, place: { ...one.place, version } };
    });
    const pages = await readFrames(this.#runner, from, bounds);
    const behind = await this.#documents(from, (i, { place }) => (pages[i]?.trimmed ?? 0) > place.version);
    return from.map((one, i) => {
      const page = pages[i];
      return page && pageOf(one, page, behind[i] ?? begun[i]);
    });
  }

  /** Of those that follow the summary and need it whole; undefined in the place of others. */
  async #documents(
    wanted: readonly StreamWanted[],
    isNeeded: (index: number, one: StreamWanted) => boolean,
  ): Promise<readonly (Summary | undefined)[]> {
    const needed = wanted.map((one, i) => one.modes.includes(SUMMARY) && isNeeded(i, one));
    if (!needed.includes(true)) return [];
    const read = (
      await readSummaries(
        this.#runner,
        wanted.filter((_, i) => needed[i]),
      )
    ).values();
    return needed.map((is) => (is ? read.next().value : undefined));
  }
}

function pageOf(from: StreamWanted, page: StreamPage, summary: Summary | undefined): FramePage {
  const frames: StreamFrame[] = [];
  let place = from.place;
  const add = (frame: Omit<StoredFrame, 'position'>, whole: boolean, next: StreamPlace) => {
    place = next;
    const { mode, number, at, type, payloadType, payload } = frame;
    const bytes = FRAME_BYTES + type.length + (payload?.length ?? 0);
    const cursor = cursorAt(from, place);
    frames.push({ mode, number, at, type, payloadType, payload, whole, place, cursor, bytes });
  };
  if (summary?.document && summary.patchedAt) {
    const whole = { mode: SUMMARY, number: summary.version, at: summary.patchedAt, type: '' };
    const document = { payloadType: 'application/json', payload: Buffer.from(summary.document) };
    add({ ...whole, ...document }, true, { ...place, version: summary.version });
  }
  for (const frame of page.frames) {
    const { mode, number, position } = frame;
    // The document may be younger than the page.
    if (mode === SUMMARY && number <= place.version) continue;
    const moved = mode === DURABLE ? { durable: number } : mode === SUMMARY ? { version: number } : { passing: number };
    add(frame, false, { ...place, ...moved, position });
  }
  const { more, end, closed } = page;
  if (more) return { frames, place, more, closed: undefined };
  return { frames, place: { ...end, version: Math.max(end.version, place.version) }, more, closed };
}

/** The cursor of a reader that stands there. */
export function cursorAt({ execution, attempt }: StreamRef, { durable, version, passing }: StreamPlace): string {
  return encodeFrameCursor({ execution, attempt, durable, version, passing });
}
