/** Options that mean the same in many commands. */
import { type Duration, durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import type { Rule } from './command.js';
import { large, past, span, spanOf, text } from './rules.js';
import { UsageError } from './usage-error.js';

export const REASON = { reason: text('text', 'Why, for people; it is in the log.') };

export const NOTE = { note: text('text', 'A note for people, kept with it.') };

export const EXPECTED = { expectedVersion: large('version', 'Refuse if it is no longer at this version.') };

export const CREATED = {
  since: past('Only those created since: a time, or how long ago, such as 2h.'),
  until: past('Only those created before it.'),
};

export const WAIT = { wait: span('Wait so long for the end, at most 60s.') };

/** Asked of the server, and waited for by the caller. */
export function waitMs(wait: Duration | undefined): number {
  return wait ? durationMs(wait) : 0;
}

/** `100/1m`: so many per window. */
export function rate(about: string): Rule<{ limit: number; window: Duration } | undefined> {
  return {
    about,
    value: '<count/window>',
    parse(given) {
      const [, limit, window] = /^(\d{1,9})\/(.+)$/.exec(given) ?? [];
      if (limit === undefined || window === undefined) throw new UsageError(`must be such as 100/1m; it is "${given}"`);
      return { limit: Number(limit), window: durationFromMs(spanOf(window)) };
    },
  };
}
