/** How a violation gets into a sound history: by a change of one thing in it. */
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { Feed, FeedEntry, FinalStates, History } from '../../support/history/history.js';
import { feedsOf, LOG } from './clean-history.js';

export type Plant = (clean: History) => History;

/** Made when it is planted, so that it happens after everything else. */
export const also =
  (more: () => History['events'][number]): Plant =>
  (clean) => ({ ...clean, events: [...clean.events, more()] });

export const inFinal =
  (change: (final: FinalStates) => FinalStates): Plant =>
  (clean) => ({ ...clean, final: change(clean.final) });

/** In the log itself, so that every reader is told the same. */
export const inLog =
  (change: (log: readonly FeedEntry[]) => Omit<FeedEntry, 'position'>[]): Plant =>
  (clean) => ({ ...clean, feeds: feedsOf(change(LOG).map((entry, i) => ({ ...entry, position: BigInt(i + 1) }))) });

export const inFeed =
  (reader: string, change: (feed: Feed) => Feed): Plant =>
  (clean) => ({ ...clean, feeds: clean.feeds.map((feed) => (feed.reader === reader ? change(feed) : feed)) });

export const entries =
  (reader: string, change: (entries: readonly FeedEntry[]) => readonly FeedEntry[]): Plant =>
  (clean) =>
    inFeed(reader, (feed) => ({
      ...feed,
      messages: feed.messages.map((message) => ('entries' in message ? { entries: change(message.entries) } : message)),
    }))(clean);

export const without =
  (...positions: number[]) =>
  (log: readonly FeedEntry[]) =>
    log.filter(({ position }) => !positions.includes(Number(position)));

export const about = (execution: string, kind: LogEntryKind, attempt?: number) => (entry: FeedEntry) =>
  entry.execution === execution && entry.kind === kind && (attempt === undefined || entry.attempt === attempt);

export const started = LogEntryKind.ATTEMPT_STARTED;

/** The first such entry comes right before the first of the others. */
export function sooner(
  log: readonly FeedEntry[],
  which: (entry: FeedEntry) => boolean,
  than: (entry: FeedEntry) => boolean,
) {
  const moved = log.filter(which).slice(0, 1);
  const rest = log.filter((entry) => !moved.includes(entry));
  return rest.toSpliced(rest.findIndex(than), 0, ...moved);
}

/** In every edge but the first. */
export const inEdges = (change: Partial<FinalStates['edges'][number]>): Plant =>
  inFinal((final) => ({ ...final, edges: final.edges.map((edge, i) => (i === 0 ? edge : { ...edge, ...change })) }));

export const inFlow = (change: Partial<FinalStates['flows'][number]>): Plant =>
  inFinal((final) => ({ ...final, flows: final.flows.map((flow) => ({ ...flow, ...change })) }));

export const twice = (fits: (entry: FeedEntry) => boolean) => (log: readonly FeedEntry[]) =>
  log.flatMap((entry) => (fits(entry) ? [entry, entry] : [entry]));
