/**
 * FetchEntries: what comes after the committed cursor of a held part.
 *
 * One statement says where the part stands and renews its lease. Entries that were parked and are to be delivered again come first,
 * alone; then the log is read on, of which all parts in the process share pages. Nothing there: the call waits at the end of the
 * log, where it is woken as it grows, without a statement but for the lease.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type FetchEntriesRequest,
  type FetchEntriesResponse,
  FetchEntriesResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import type { LogEntry } from '../../../../gen/tailrace/v1/log_pb.js';
import type { EngineError } from '../../../domain/errors.js';
import { ReadAhead } from '../../../log/read-ahead.js';
import type { LogRecord } from '../../../log/record.js';
import type { Scanned } from '../../../log/scan.js';
import type { Selection } from '../../../log/selection.js';
import { type FetchedPart, fetchPart, type Holding, type RefusedPart } from '../../../repository/consumers/index.js';
import { monotonicMs } from '../../../runtime/clock.js';
import { withEither } from '../../../runtime/either-signal.js';
import { firstWoken } from '../../../runtime/either-woken.js';
import { WakeSignal } from '../../../runtime/wake-signal.js';
import { Promotions } from '../../admin/consumers/promotion.js';
import { toDuration, toTimestamp } from '../../conversion/times.js';
import { drainingOf } from '../../draining.js';
import { required } from '../../engine/required.js';
import { duration, integerOr, MINUTE_MS, type Shape, validate } from '../../validation.js';
import type { Shown } from '../entries.js';
import type { CompletionDependencies } from '../index.js';
import { shownTo } from './entry-letter.js';
import { holdingOf, ofConsumer, Places, partRef } from './fields.js';
import { parkFollowers } from './parking.js';
import { redeliveries } from './redelivery.js';
import {
  consumerHalted,
  consumerNotFound,
  consumerPaused,
  consumerPruned,
  epochConflict,
  readFailure,
} from './refusals.js';
import { Selections } from './selections.js';

const ENTRIES = 500;
const MAX_ENTRIES = 5_000;
/** Of one answer, about: what clients take by default is 4 MiB. */
const ANSWER_BYTES = 3 * 1024 * 1024;
/** A lease is renewed once a third of it is gone; who waits looks again a little later. */
const LOOK_AGAIN = 0.4;

const request = z.object({
  ...ofConsumer,
  part: required(partRef),
  maxEntries: integerOr(ENTRIES, 1, MAX_ENTRIES),
  wait: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
} satisfies Shape<FetchEntriesRequest>);

/** One look at a part. */
interface Look {
  readonly held: Holding;
  readonly part: FetchedPart;
  readonly selection: Selection;
  readonly places: Places;
  readonly shown: Shown;
}

type ToLogEntry = (record: LogRecord, shown: Shown) => LogEntry;

export function fetchEntriesCall(deps: CompletionDependencies, logEntry: ToLogEntry) {
  const { namespaceId, database, pages, consumerWakes, live } = deps;
  const ahead = new ReadAhead(pages);
  const selections = new Selections(database);
  const promotions = new Promotions(deps);

  const look = async (held: Holding): Promise<Look> => {
    const { namespace } = held;
    const incarnation = await live.incarnation();
    const places = new Places(namespace, incarnation);
    const part = await fetchPart(database, held);
    if (part.verdict !== 'held') throw await refusalOf(part, held, places);
    const floor = await live.floors.of(namespace);
    // Retention halts it right after, or has done so meanwhile.
    if (part.position < floor) throw consumerPruned(held.consumer, places.cursor(floor));
    const selection = await selections.of({ ...part, namespace });
    return { held, part, selection, places, shown: shownTo({ namespace, incarnation }) };
  };

  return async (message: FetchEntriesRequest, context: HandlerContext): Promise<FetchEntriesResponse> => {
    const { maxEntries: entries, wait, ...asked } = validate(request, message);
    const namespace = await namespaceId(asked.namespace, context);
    const held = holdingOf(asked, namespace);
    const untilMs = monotonicMs() + wait;
    const changes = consumerWakes.join('changes', namespace, asked.consumer);
    const growth = new WakeSignal();
    const leave = pages.join(growth);
    try {
      return await withEither([context.signal, drainingOf(context)], async (signal) => {
        // How far the call has looked: what it has passed over, it does not read again.
        let upTo = -1n;
        for (let before: Look | undefined; ; ) {
          changes.signal.clear();
          const seen: Look = await look(held);
          const { part } = seen;
          const again = part.offers ? await redeliveries(database, { ...held, ...part }, entries, ANSWER_BYTES) : [];
          if (again.length > 0) {
            deps.after.committed(again.length);
            return answer(seen, again, part.position);
          }
          if (part.retryMs !== null && part.retryMs > 0) return answer(seen, [], part.position);
          // Letters that are due but were not offered wait for others; whoever lets them go wakes.
          const offerMs = part.offerMs || Number.POSITIVE_INFINITY;
          const lookAgainMs = Math.min(untilMs, monotonicMs() + Math.min(part.leaseMs * LOOK_AGAIN, offerMs));
          if (before?.selection !== seen.selection || before.part.position !== part.position) upTo = part.position;
          before = seen;
          for (let changed = false, isFirst = true; !changed; isFirst = false) {
            growth.clear();
            const scanned = await read(seen, upTo, entries);
            upTo = scanned.upTo;
            if (part.rebuilding && part.promotes) {
              const isIdle = isFirst && scanned.ended && scanned.records.length === 0;
              await promotions.look(namespace, asked.consumer, held.generation, isIdle);
            }
            const over = part.wanted || signal.aborted || monotonicMs() >= untilMs;
            if (scanned.records.length > 0 || !scanned.ended || over) return await deliver(seen, scanned);
            const leftMs = lookAgainMs - monotonicMs();
            changed = leftMs <= 0 || (await firstWoken(changes.signal, growth, leftMs, signal));
          }
        }
      });
    } finally {
      leave();
      changes.leave();
    }
  };

  async function read(
    { held, part, selection, places, shown }: Look,
    position: bigint,
    entries: number,
  ): Promise<Scanned> {
    const key = `${part.consumer}/${held.generation}/${held.part}`;
    const bounds = { entries, bytes: ANSWER_BYTES };
    try {
      const prepare = (record: LogRecord) => void logEntry(record, shown);
      return await ahead.read({ key, selection, place: { part: held.part, position }, bounds, prepare });
    } catch (error) {
      throw readFailure(error, held.consumer, (at) => places.cursor(at));
    }
  }

  async function deliver(seen: Look, { records, upTo }: Scanned): Promise<FetchEntriesResponse> {
    const { held, part, selection, shown, places } = seen;
    let left = records;
    if (part.holds && records.length > 0) {
      const parking = await parkFollowers(database, { ...held, ...part }, { selection, records, shown });
      if (parking.verdict === 'epoch') throw epochConflict(held);
      if (parking.verdict === 'halted') {
        consumerWakes.changed(held.namespace, held.consumer);
        const refused = await fetchPart(database, held);
        throw refused.verdict === 'held' ? epochConflict(held) : await refusalOf(refused, held, places);
      }
      if (parking.records.length < records.length) deps.after.committed(records.length - parking.records.length);
      left = parking.records;
    }
    const deliveries = left.map((record, i) => ({
      entry: logEntry(record, shown),
      // Those of the first: nothing behind it was offered while it fails.
      previousTries: i === 0 ? part.tries : 0,
    }));
    return answer(seen, deliveries, upTo);
  }

  async function refusalOf(
    { verdict, haltedPosition, reason }: RefusedPart,
    held: Holding,
    places: Places,
  ): Promise<EngineError> {
    switch (verdict) {
      case 'not_found':
        return consumerNotFound(held.consumer);
      case 'paused':
        return consumerPaused(held.consumer, reason);
      case 'halted':
        return consumerHalted(held.consumer, {
          position: haltedPosition ?? 0n,
          floor: await live.floors.now(held.namespace),
          reason,
          cursorAt: (at) => places.cursor(at),
        });
      default:
        return epochConflict(held);
    }
  }
}

type Delivery = Pick<FetchEntriesResponse['deliveries'][number], 'previousTries'> & {
  readonly entry: LogEntry;
  readonly deadLetterId?: string;
};

function answer({ part, places }: Look, deliveries: readonly Delivery[], upTo: bigint): FetchEntriesResponse {
  const { position, retryMs, expiresAt, wanted } = part;
  return create(FetchEntriesResponseSchema, {
    deliveries: [...deliveries],
    fromCursor: places.cursor(position),
    toCursor: places.cursor(upTo),
    ...(retryMs !== null && retryMs > 0 && { retryDelay: toDuration(retryMs) }),
    expireTime: toTimestamp(expiresAt),
    releaseWanted: wanted,
  });
}
