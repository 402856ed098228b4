/** What a history proves about output: every reader is told of every frame once, in order, byte for byte. */
import { FrameMode } from '../../../gen/tailrace/v1/frame_pb.js';
import { groupBy } from './grouping.js';
import type { Appended, History, Tail, TailedFrame, WrittenFrame } from './history.js';
import { folded, isObject, type Json } from './merge-patch.js';

const { DURABLE, SUMMARY, BEST_EFFORT } = FrameMode;

/** What was written of one attempt. */
interface Written {
  /** By number, those whose place is known. */
  readonly durable: ReadonlyMap<number, string>;
  /** By version. */
  readonly patches: ReadonlyMap<number, string>;
  /** Of a mode, whatever was ever sent. */
  readonly sent: (mode: FrameMode) => ReadonlySet<string>;
  /** Answers were lost, or did not tell, so that such a frame may stand where none is known to. */
  readonly uncertain: (mode: FrameMode) => boolean;
}

export function outputIsExact({ events, tails }: History): string[] {
  const appended = events.filter((event): event is Appended => event.event === 'appended');
  const written = groupBy(appended, attemptOf);
  return [...groupBy(tails, attemptOf)].flatMap(([attempt, readers]) => {
    const known = writtenIn(written.get(attempt) ?? []);
    const wrong = readers.flatMap((tail) => toldWrong(tail, known).map((what) => `${tail.reader}: ${what}`));
    return [...wrong.map((what) => `${what}, of ${attempt}`), ...differing(attempt, readers)];
  });
}

function writtenIn(appended: readonly Appended[]): Written {
  const durable = new Map<number, string>();
  const patches = new Map<number, string>();
  const sent = new Map<FrameMode, Set<string>>();
  for (const one of appended) {
    const { frames, durableBefore } = one;
    const patchesBefore = patchesPlaced(one, appended);
    const of = (mode: FrameMode) => contentsOf(frames.filter((frame) => frame.mode === mode));
    for (const mode of [DURABLE, SUMMARY, BEST_EFFORT]) {
      sent.set(mode, new Set([...(sent.get(mode) ?? []), ...of(mode)]));
    }
    if (durableBefore !== undefined)
      of(DURABLE).forEach((content, i) => void durable.set(durableBefore + i + 1, content));
    if (patchesBefore !== undefined)
      of(SUMMARY).forEach((content, i) => void patches.set(patchesBefore + i + 1, content));
  }
  const uncertain = (mode: FrameMode) =>
    appended.some((one) => {
      const { verdict, frames, durableBefore } = one;
      const isPlaced = (mode === DURABLE ? durableBefore : patchesPlaced(one, appended)) !== undefined;
      const mayStand = verdict === 'unanswered' || (verdict === 'accepted' && !isPlaced);
      return mayStand && frames.some((frame) => frame.mode === mode);
    });
  return { durable, patches, sent: (mode) => sent.get(mode) ?? new Set(), uncertain };
}

/** Not known where some other append may have written durable frames in the places of this one's. */
function patchesPlaced(one: Appended, all: readonly Appended[]): number | undefined {
  const isThere = all.some((other) => other !== one && mayOverlap(other, one));
  return one.mayGoOn && isThere ? undefined : one.patchesBefore;
}

function mayOverlap(other: Appended, { durableBefore: from = 0, frames }: Appended): boolean {
  const durables = (all: readonly WrittenFrame[]) => all.filter(({ mode }) => mode === DURABLE).length;
  const { verdict, durableBefore: before } = other;
  // What a duplicate repeats is another one of them.
  if (verdict === 'refused' || verdict === 'duplicate' || durables(other.frames) === 0) return false;
  return before === undefined || (before < from + durables(frames) && before + durables(other.frames) > from);
}

function toldWrong({ frames, closed }: Tail, written: Written): string[] {
  const found: string[] = [];
  const durable = frames.filter(({ mode }) => mode === DURABLE);
  durable.forEach(({ number, content }, i) => {
    if (number !== i + 1) found.push(`frame ${number} came where ${i + 1} should`);
    const due = written.durable.get(number);
    const isRight =
      due === undefined ? written.uncertain(DURABLE) && written.sent(DURABLE).has(content) : due === content;
    if (!isRight) found.push(`frame ${number} is "${content}", not "${due ?? 'there'}"`);
  });
  const last = Math.max(0, ...written.durable.keys());
  if (closed && durable.length < last) found.push(`${durable.length} of ${last} frames came before the end`);
  for (const { mode, content } of frames) {
    if (mode === BEST_EFFORT && !written.sent(mode).has(content)) found.push(`"${content}" was never appended`);
  }
  return [...found, ...summaryWrong(frames, closed, written)];
}

/** Patches are told one by one, unless the whole document comes in their place; folded they are what was written. */
function summaryWrong(frames: readonly TailedFrame[], closed: boolean, { patches, uncertain }: Written): string[] {
  const found: string[] = [];
  let document: Json = {};
  let version = 0;
  for (const frame of frames.filter(({ mode }) => mode === SUMMARY)) {
    const follows = frame.whole ? frame.version > version : frame.version === version + 1;
    if (!follows) found.push(`version ${frame.version} of the summary came after ${version}`);
    document = frame.whole ? jsonOf(frame) : folded(document, jsonOf(frame));
    version = frame.version;
  }
  const last = Math.max(0, ...patches.keys());
  if (closed && version < last) found.push(`the summary ends at version ${version}, not ${last}`);
  const versions = Array.from({ length: version }, (_, i) => i + 1);
  if (uncertain(SUMMARY) && versions.some((i) => !patches.has(i))) return found;
  let due: Json = {};
  for (const i of versions) due = folded(due, JSON.parse(bodyOf(patches.get(i) ?? '{}')) as Json);
  if (canonical(due) !== canonical(document)) {
    found.push(`the summary is ${canonical(document)} at version ${version}, not ${canonical(due)}`);
  }
  return found;
}

/** Readers agree on what stands under a number, whoever wrote it. */
function differing(attempt: string, readers: readonly Tail[]): string[] {
  const durable = readers.flatMap(({ frames }) => frames.filter(({ mode }) => mode === DURABLE));
  return [...groupBy(durable, ({ number }) => String(number))].flatMap(([number, told]) =>
    new Set(contentsOf(told)).size > 1 ? [`readers were told differently of frame ${number} of ${attempt}`] : [],
  );
}

const contentsOf = (frames: readonly WrittenFrame[]) => frames.map(({ content }) => content);

/** The content without its type. */
const bodyOf = (content: string) => content.slice(content.indexOf('\n') + 1);
const jsonOf = ({ content }: WrittenFrame) => JSON.parse(bodyOf(content)) as Json;

/** The database keeps the members of objects in an order of its own, also of those in lists. */
function canonical(value: Json): string {
  if (isList(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const parts = Object.keys(value).sort();
  return `{${parts.map((key) => `${JSON.stringify(key)}:${canonical(value[key] ?? null)}`).join()}}`;
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

function attemptOf({ execution, attempt }: { execution: string; attempt: number }): string {
  return `attempt ${attempt} of ${execution}`;
}
