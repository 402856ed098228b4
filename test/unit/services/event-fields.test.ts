/** What is refused of an event or a subscription is refused whole, rules between fields included. */
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { EventSpecSchema } from '../../../gen/tailrace/v1/event_pb.js';
import { DeadHeadPolicy } from '../../../gen/tailrace/v1/execution_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { SubscriptionSpecSchema } from '../../../gen/tailrace/v1/subscription_pb.js';
import { EngineError } from '../../../src/domain/errors.js';
import { subscriptionSpec } from '../../../src/services/admin/subscriptions/spec.js';
import { eventSpec } from '../../../src/services/engine/events/event-spec.js';
import { validate } from '../../../src/services/validation.js';

const MAX_PAYLOAD = 1_000;

function refusedOf(check: () => unknown): string[] {
  try {
    check();
  } catch (error) {
    if (error instanceof EngineError) return error.violations.map(({ field }) => field).sort();
    throw error;
  }
  return [];
}

it('names what is wrong between the fields of an event beside what is wrong in one', () => {
  const asked = create(EventSpecSchema, {
    eventId: 'ffffffff-0000-7000-8000-000000000000',
    expectedStreamVersion: 3n,
    headers: { '': 'x' },
    flowId: 'none',
  });
  expect(refusedOf(() => validate(eventSpec(MAX_PAYLOAD), asked))).toEqual([
    'event_id',
    'expected_stream_version',
    'flow_id',
    'headers[""]',
    'type',
  ]);
});

it('names what is wrong between the fields of a subscription beside what is wrong in one', () => {
  const asked = create(SubscriptionSpecSchema, {
    headers: { '': 'x' },
    deadHeadPolicy: DeadHeadPolicy.SKIP,
    batchJoin: { policy: { distinctSources: true } },
    start: StartPosition.EARLIEST,
    cursor: 'somewhere',
    failureEvents: [{ event: { expectedStreamVersion: 1n } }],
  });
  expect(refusedOf(() => validate(subscriptionSpec(MAX_PAYLOAD), asked))).toEqual([
    'batch_join.policy.distinct_sources',
    'dead_head_policy',
    'failure_events[0].event.expected_stream_version',
    'failure_events[0].event.type',
    'headers[""]',
    'name',
    'start',
    'type',
  ]);
});
