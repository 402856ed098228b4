/**
 * The part of the sound history that is about a consumer of events, of one part. `a` handles the first two, cannot handle
 * `placed-3`, which is parked, and is lost with what it has in hand. `b` is given that again, then `placed-3` on request, and
 * the rest.
 */
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type {
  EntriesCommitted,
  EntriesDelivered,
  EntryFailed,
  FinalConsumer,
  FinalEntryLetter,
} from '../../support/history/consumer-history.js';
import type { FeedEntry, HistoryEvent, Timed } from '../../support/history/history.js';
import { about, type Step } from './clean-steps.js';

const { EVENT_PUBLISHED, DEAD_LETTER_OPENED, DEAD_LETTER_REDRIVING, DEAD_LETTER_CLOSED } = LogEntryKind;

type Now = () => Timed;

const LETTER = 'letter of an entry';
const consumer = 'default/followers';
const generation = 1n;

export const CONSUMER_STEPS: readonly Step[] = [
  about(DEAD_LETTER_OPENED, '', { letter: LETTER }),
  about(DEAD_LETTER_REDRIVING, '', { letter: LETTER }),
  about(DEAD_LETTER_CLOSED, '', { letter: LETTER }),
];

/** Positions of events. */
export const placeIn = (log: readonly FeedEntry[]) => (event: string) =>
  log.find(({ published }) => published === event)?.position ?? -1n;

const by = (owner: string, epoch: bigint) => ({ consumer, generation, part: 0, owner, epoch });

export const delivered = (
  now: Now,
  of: ReturnType<typeof by>,
  [from, to]: readonly [bigint, bigint],
  entries: readonly bigint[],
  letter = '',
): EntriesDelivered => ({
  ...{ event: 'delivered', ...of, from, to, entries: entries.map((position) => ({ position, letter })) },
  ...now(),
});

export const committed = (
  now: Now,
  of: ReturnType<typeof by>,
  [from, to]: readonly [bigint, bigint],
  more: Partial<EntriesCommitted> = {},
): EntriesCommitted => ({
  ...{ event: 'committed', ...of, from, to, letters: [], verdict: 'accepted' },
  ...more,
  ...now(),
});

export const A = by('a', 1n);
export const B = by('b', 2n);

export function followings(now: Now, log: readonly FeedEntry[]): HistoryEvent[] {
  const at = placeIn(log);
  const [two, three, part, end] = [at('placed-2'), at('placed-3'), at('part-0'), BigInt(log.length)] as const;
  const parked: EntryFailed = {
    ...{ event: 'entry failed', ...A, position: three, letter: '', parked: true, verdict: 'accepted', ...now() },
  };
  return [
    delivered(now, A, [0n, two], [at('placed-1'), two]),
    committed(now, A, [0n, two]),
    committed(now, A, [0n, two], { verdict: 'duplicate' }),
    delivered(now, A, [two, part], [three, at('paid'), part]),
    { ...parked, ...now() },
    delivered(now, A, [three, part], [at('paid'), part]),
    delivered(now, B, [three, part], [at('paid'), part]),
    committed(now, B, [three, part]),
    delivered(now, B, [part, part], [three], LETTER),
    committed(now, B, [part, part], { letters: [LETTER] }),
    delivered(now, B, [part, end], [at('part-1'), at('looping')]),
    committed(now, B, [part, end]),
  ];
}

export const finalConsumers = (log: readonly FeedEntry[]): FinalConsumer[] => [
  {
    ...{ consumer, generation, position: BigInt(log.length), fromStart: true },
    selects: { kinds: [EVENT_PUBLISHED], eventTypes: [] },
  },
];

export const entryLetters = (log: readonly FeedEntry[]): FinalEntryLetter[] => [
  { letter: LETTER, consumer, generation, position: placeIn(log)('placed-3'), state: 'closed' },
];
