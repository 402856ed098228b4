/** Subscriptions in the words of the contract. */
import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import {
  type Subscription,
  SubscriptionSchema,
  type SubscriptionSpec,
  SubscriptionSpecSchema,
} from '../../../gen/tailrace/v1/subscription_pb.js';
import { type SubscriptionRow, SubscriptionState } from '../../repository/subscriptions/index.js';
import { type StoredFailureEvent, toFailureEvents } from './failure-event.js';
import { toTimestamp } from './times.js';

export function toSubscription(row: SubscriptionRow, namespace: string): Subscription {
  return create(SubscriptionSchema, {
    namespace,
    spec: specOf(row),
    version: row.version,
    createTime: toTimestamp(row.created_at),
    updateTime: toTimestamp(row.changed_at),
    actor: row.actor,
    backfilling: row.state === SubscriptionState.BACKFILLING,
    openJoinCount: BigInt(row.open_joins),
    haltReason: row.halted_reason ?? '',
    haltTime: toTimestamp(row.halted_at),
    unroutedEventCount: BigInt(row.unrouted),
  });
}

function specOf({ spec, failure_events }: SubscriptionRow): SubscriptionSpec {
  const asked = fromJson(SubscriptionSpecSchema, spec as JsonValue);
  asked.failureEvents = toFailureEvents(failure_events as readonly StoredFailureEvent[] | null);
  return asked;
}
