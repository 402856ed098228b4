/**
 * AwaitConsumer: waits until the live generation has passed a cursor, so that what was written can be read from its
 * projection. A part has passed it too when none of its entries lies before it any more.
 *
 * Commits of this process wake the wait; for those of others it looks again, often at first. A look reads where the parts
 * stand, and the log only where that does not tell.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type AwaitConsumerRequest,
  type AwaitConsumerResponse,
  AwaitConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import { ConsumerState } from '../../../../gen/tailrace/v1/consumer_pb.js';
import { resolveCursor } from '../../../domain/cursor.js';
import type { EngineError } from '../../../domain/errors.js';
import { prunedAt } from '../../../log/floors.js';
import { Gathering } from '../../../log/gathering.js';
import { caughtUp } from '../../../log/lag.js';
import { leastOf } from '../../../log/selection.js';
import { type ConsumerPlaces, readPlaces } from '../../../repository/consumers/index.js';
import { readLogHead } from '../../../repository/log/index.js';
import { monotonicMs } from '../../../runtime/clock.js';
import { withEither } from '../../../runtime/either-signal.js';
import { drainingOf } from '../../draining.js';
import { duration, MINUTE_MS, name, namespace, type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { cursor, Places } from './fields.js';
import { consumerHalted, consumerNotFound, consumerPaused, readFailure } from './refusals.js';
import { Selections } from './selections.js';

const FIRST_LOOK_MS = 100;
const LATER_LOOKS_MS = 250;

const request = z.object({
  namespace,
  consumer: name(),
  cursor,
  timeout: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
} satisfies Shape<AwaitConsumerRequest>);

export function awaitConsumerCall({ namespaceId, database, pages, live, consumerWakes }: CompletionDependencies) {
  const selections = new Selections(database);
  // A commit wakes everybody who waits for its consumer: they look together.
  const standing = new Gathering(async (asked) => {
    const found = new Map<string, ConsumerPlaces>();
    for (const key of asked) {
      const [id, consumer] = JSON.parse(key) as [number, string];
      const at = await readPlaces(database, id, consumer);
      if (at) found.set(key, at);
    }
    return found;
  });

  const hasPassed = async (id: number, at: ConsumerPlaces, position: bigint): Promise<boolean> => {
    const least = leastOf(at.places);
    if (least >= position) return true;
    // What it has not read may be in memory, but it is not to be seen any more.
    const floor = await live.floors.of(id);
    if (least < floor) throw prunedAt(floor);
    const selection = await selections.of({ ...at, namespace: id });
    return (await caughtUp(pages, selection, at.places, position)) ?? false;
  };

  return async (message: AwaitConsumerRequest, context: HandlerContext): Promise<AwaitConsumerResponse> => {
    const asked = validate(request, message);
    const { consumer, timeout } = asked;
    const id = await namespaceId(asked.namespace, context);
    const key = JSON.stringify([id, consumer]);
    const untilMs = monotonicMs() + timeout;
    const waiter = consumerWakes.join('moves', id, consumer);
    try {
      const head = await readLogHead(database);
      const places = new Places(id, head.incarnation);
      // What is gone was before everything that is kept, and a consumer that held on to it has halted.
      const position = resolveCursor(asked.cursor, { namespace: id, ...head, floor: 0n });
      return await withEither([context.signal, drainingOf(context)], async (signal) => {
        for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = LATER_LOOKS_MS) {
          waiter.signal.clear();
          const at = (await standing.ask([key])).get(key);
          if (at === undefined) throw consumerNotFound(consumer);
          const done = await hasPassed(id, at, position).catch((error: unknown) => {
            throw readFailure(error, consumer, (place) => places.cursor(place));
          });
          if (!done && stands(at)) throw refusalOf(consumer, at, places, await live.floors.now(id));
          const leftMs = untilMs - monotonicMs();
          if (done || leftMs <= 0 || signal.aborted) {
            return create(AwaitConsumerResponseSchema, { done, cursor: places.cursor(leastOf(at.places)) });
          }
          await waiter.signal.wait(Math.min(leftMs, pauseMs), signal);
        }
      });
    } finally {
      waiter.leave();
    }
  };
}

/** One that stands still does not get there by waiting. */
function stands({ state, haltedPosition }: ConsumerPlaces): boolean {
  return state === ConsumerState.PAUSED || haltedPosition !== null;
}

function refusalOf(
  consumer: string,
  { state, reason, haltedPosition }: ConsumerPlaces,
  places: Places,
  floor: bigint,
): EngineError {
  if (state === ConsumerState.PAUSED) return consumerPaused(consumer, reason);
  const position = haltedPosition ?? 0n;
  return consumerHalted(consumer, { position, floor, reason, cursorAt: (at) => places.cursor(at) });
}
