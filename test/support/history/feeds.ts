/** What a history proves about feeds: gapless, in order, without doubles over resumes, and the same for every reader. */
import type { Feed, FeedEntry, History } from './history.js';

/** The longest feed that saw everything, if there is one. */
export function wholeFeed(history: History): readonly FeedEntry[] | undefined {
  const whole = history.feeds.filter((feed) => feed.selects === undefined && startOf(feed) === 0n).map(entriesOf);
  return whole.sort((a, b) => b.length - a.length)[0];
}

/** A reader of everything meets every position from its start on. */
export function feedsAreGapless(history: History): string[] {
  return history.feeds.flatMap((feed) => {
    if (feed.selects !== undefined) return [];
    let seen = startOf(feed);
    return entriesOf(feed).flatMap(({ position }) => {
      const expected = seen + 1n;
      if (position > seen) seen = position;
      return position > expected ? [`${feed.reader}: positions ${expected} to ${position - 1n} are missing`] : [];
    });
  });
}

/** Positions rise, over resumes too, and nothing comes after the word that everything up to it was delivered. */
export function feedsAreOrdered(history: History): string[] {
  return history.feeds.flatMap((feed) => {
    let seen = -1n;
    return feed.messages.flatMap((message) => {
      if ('resumedAfter' in message) {
        return message.resumedAfter === seen
          ? []
          : [`${feed.reader}: resumed after ${message.resumedAfter}, had ${seen}`];
      }
      if ('upTo' in message) {
        if (message.upTo < seen) return [`${feed.reader}: told ${message.upTo} after ${seen}`];
        seen = message.upTo;
        return [];
      }
      return message.entries.flatMap(({ position }) => {
        if (position <= seen) return [`${feed.reader}: ${position} came after ${seen}`];
        seen = position;
        return [];
      });
    });
  });
}

/** Every reader was told of every position the same, and of all that its filter selects up to where it got. */
export function readersAgree(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const told = new Map(whole.map((entry) => [entry.position, entry]));
  const last = whole.at(-1)?.position ?? 0n;
  return history.feeds.flatMap((feed) => {
    const entries = entriesOf(feed);
    const seen = new Set(entries.map(({ position }) => position));
    const differing = entries
      .filter((entry) => entry.position <= last && !isSame(told.get(entry.position), entry))
      .map(({ position }) => `${feed.reader}: was told otherwise of ${position}`);
    const start = startOf(feed);
    const end = endOf(feed);
    const missing = whole
      .filter((entry) => entry.position > start && entry.position <= end && (feed.selects?.(entry) ?? true))
      .filter(({ position }) => !seen.has(position))
      .map(({ position }) => `${feed.reader}: was not told of ${position}`);
    return [...differing, ...missing];
  });
}

export function entriesOf(feed: Feed): FeedEntry[] {
  return feed.messages.flatMap((message) => ('entries' in message ? message.entries : []));
}

/** The first message names the start. */
function startOf(feed: Feed): bigint {
  const [first] = feed.messages;
  return first && 'upTo' in first ? first.upTo : 0n;
}

function endOf(feed: Feed): bigint {
  const last = feed.messages.findLast((message) => !('resumedAfter' in message));
  if (last && 'upTo' in last) return last.upTo;
  return entriesOf(feed).at(-1)?.position ?? 0n;
}

/** Feeds of completions tell less of an entry than feeds of the log: what both tell must be equal. */
function isSame(one: FeedEntry | undefined, other: FeedEntry): boolean {
  return one !== undefined && one.execution === other.execution && one.kind === other.kind && one.to === other.to;
}
