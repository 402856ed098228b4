/** Violations of what the checker says of consumers. */
import type { EntriesCommitted, EntriesDelivered } from '../../support/history/consumer-history.js';
import { A, B, committed, delivered, placeIn } from './clean-consumers.js';
import { LOG, now } from './clean-history.js';
import { also, inFinal, type Plant } from './plants.js';

const at = placeIn(LOG);
const end = BigInt(LOG.length);

type Call = EntriesDelivered | EntriesCommitted;

/** In the one that ends there, or the last of them. */
const inCall =
  <K extends Call['event']>(event: K, to: bigint, change: (call: Call & { event: K }) => readonly Call[]): Plant =>
  (clean) => {
    const place = clean.events.findLastIndex((one) => one.event === event && one.to === to);
    const call = clean.events[place] as Call & { event: K };
    return { ...clean, events: clean.events.toSpliced(place, 1, ...change(call)) };
  };

export const PLANTED_CONSUMERS: Readonly<Record<string, Readonly<Record<string, Plant>>>> = {
  'a part has one owner': {
    'two are given entries under one epoch': also(() => delivered(now, { ...A, epoch: 2n }, [end, end], [])),
    'the one before may commit yet': also(() => committed(now, A, [end, end])),
  },
  'cursors move without a gap': {
    'somebody has moved one unseen': inCall('committed', end, (call) => [{ ...call, from: call.from + 1n }]),
    'a commit begins before the end of the last one': inCall('committed', end, (call) => [
      { ...call, from: call.from - 1n },
    ]),
  },
  'entries come in order': {
    'two are swapped': inCall('delivered', at('placed-2'), (call) => [{ ...call, entries: call.entries.toReversed() }]),
    'one comes again that was committed': also(() => delivered(now, B, [0n, end], [at('placed-1')])),
    'one comes before its range': inCall('delivered', end, (call) => [{ ...call, to: call.to - 1n, from: end }]),
    'one comes in two parts': also(() => delivered(now, { ...B, part: 1 }, [0n, end], [at('placed-1')])),
    'one comes again after its letter was closed': also(() =>
      delivered(now, B, [end, end], [at('placed-3')], 'letter of an entry'),
    ),
  },
  'what is selected is handled': {
    'one was left out': inCall('delivered', end, (call) => [{ ...call, entries: call.entries.slice(1) }]),
    'one was not committed by whom it was given to': inCall('delivered', end, (call) => [{ ...call, epoch: 3n }]),
    'one that was parked has no letter': (clean) =>
      inFinal((final) => ({ ...final, entryLetters: [] }))(inCall('delivered', at('part-0'), () => [])(clean)),
  },
};
