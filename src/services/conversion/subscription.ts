/** Subscriptions in the words of the contract. */
import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import {
  type Subscription,
  SubscriptionSchema,
  SubscriptionSpecSchema,
} from '../../../gen/tailrace/v1/subscription_pb.js';
import { type SubscriptionRow, SubscriptionState } from '../../repository/subscriptions/index.js';
import { toTimestamp } from './times.js';

export function toSubscription(row: SubscriptionRow, namespace: string): Subscription {
  return create(SubscriptionSchema, {
    namespace,
    spec: fromJson(SubscriptionSpecSchema, row.spec as JsonValue),
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
