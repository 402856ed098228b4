/**
 * AcquireConsumer: an owner gets parts, or waits for some.
 *
 * While it waits it counts as a member, so that those with more than their share are told to give parts back. It looks again
 * when woken (parts were released, the consumer was resumed), when the next lease of another runs out, and as often as its own
 * would be renewed: one that is gone keeps a share from others no longer than a lease, as it would with parts.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type AcquireConsumerRequest,
  type AcquireConsumerResponse,
  AcquireConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import type { EngineError } from '../../../domain/errors.js';
import { type AcquireAnswer, acquireParts, leaveConsumer } from '../../../repository/consumers/index.js';
import { monotonicMs } from '../../../runtime/clock.js';
import { withEither } from '../../../runtime/either-signal.js';
import { toTimestamp } from '../../conversion/times.js';
import { drainingOf } from '../../draining.js';
import { counter, duration, HOUR_MS, integerOr, MINUTE_MS, SECOND_MS, type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { ofConsumer, type Places, placesIn } from './fields.js';
import {
  consumerHalted,
  consumerHeld,
  consumerNotFound,
  consumerPaused,
  generationNotFound,
  serverDrains,
} from './refusals.js';

const MAX_PARTS = 256;
const LEASE_MS = 30 * SECOND_MS;
/** A lease that is over by the database's clock is looked for so long after it should be. */
const AFTER_LEASE_MS = 5;
/** One that has run out and was not given is locked by a transaction of whoever had it. */
const LEAST_MS = 50;

const request = z.object({
  ...ofConsumer,
  maxParts: integerOr(1, 1, MAX_PARTS),
  generation: counter,
  leaseDuration: duration(SECOND_MS, HOUR_MS).transform((ms) => ms ?? LEASE_MS),
  wait: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
} satisfies Shape<AcquireConsumerRequest>);

export function acquireConsumerCall(deps: CompletionDependencies) {
  const { namespaceId, database, after, consumerWakes } = deps;
  return async (message: AcquireConsumerRequest, context: HandlerContext): Promise<AcquireConsumerResponse> => {
    const asked = validate(request, message);
    const namespace = await namespaceId(asked.namespace, context);
    const { consumer, ownerId: owner, maxParts, generation, leaseDuration: leaseMs } = asked;
    const untilMs = monotonicMs() + asked.wait;
    const places = await placesIn(deps, namespace);
    const waiter = consumerWakes.join('changes', namespace, consumer);
    const look = async (waitMs: number) => {
      const answer = await acquireParts(database, {
        namespace,
        consumer,
        owner,
        maxParts,
        generation,
        leaseMs,
        waitMs,
      });
      if (answer.woke) {
        after.committed(1);
        consumerWakes.changed(namespace, consumer);
      }
      return answer;
    };
    const floorOf = ({ verdict }: AcquireAnswer) => (verdict === 'halted' ? deps.live.floors.now(namespace) : 0n);
    try {
      return await withEither([context.signal, drainingOf(context)], async (signal) => {
        for (;;) {
          waiter.signal.clear();
          const leftMs = Math.max(0, untilMs - monotonicMs());
          const lookMs = Math.min(leftMs, leaseMs);
          const answer = await look(lookMs);
          if (answer.verdict === 'held') return present(answer, places);
          if (leftMs === 0 || !isWaitedFor(answer)) throw refusalOf(answer, asked, places, await floorOf(answer));
          const nextMs = Math.max(LEAST_MS, (answer.nextMs ?? lookMs) + AFTER_LEASE_MS);
          await waiter.signal.wait(Math.min(lookMs, nextMs), signal);
          // Nobody is there any more who could be given a part.
          if (signal.aborted) throw serverDrains();
        }
      });
    } finally {
      waiter.leave();
      if (context.signal.aborted) await leaveConsumer(database, { namespace, consumer, owner });
    }
  };
}

/** What somebody else may change while the caller waits. */
function isWaitedFor({ verdict }: AcquireAnswer): boolean {
  return verdict === 'none' || verdict === 'paused' || verdict === 'halted';
}

function present({ parts }: AcquireAnswer, places: Places): AcquireConsumerResponse {
  return create(AcquireConsumerResponseSchema, {
    leases: parts.map(({ generation, part, epoch, position, expiresAt }) => ({
      part: { generation, part, epoch },
      cursor: places.cursor(position),
      expireTime: toTimestamp(expiresAt),
    })),
  });
}

function refusalOf(
  answer: AcquireAnswer,
  { consumer, generation }: z.output<typeof request>,
  places: Places,
  floor: bigint,
): EngineError {
  const { verdict, reason, nextMs, heldBy, heldUntil } = answer;
  switch (verdict) {
    case 'not_found':
      return consumerNotFound(consumer);
    case 'no_generation':
      return generationNotFound(consumer, generation);
    case 'paused':
      return consumerPaused(consumer, reason);
    case 'halted': {
      const position = answer.haltedPosition ?? 0n;
      return consumerHalted(consumer, { position, floor, reason, cursorAt: (at) => places.cursor(at) });
    }
    default:
      return consumerHeld(consumer, heldBy, heldUntil, Math.ceil(nextMs ?? 0));
  }
}
