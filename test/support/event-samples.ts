/** Sample requests about events and subscriptions. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { EmittedEventSchema } from '../../gen/tailrace/v1/event_pb.js';
import { DeadHeadPolicy } from '../../gen/tailrace/v1/execution_pb.js';
import { JoinMode, OnJoinTimeout, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import type { KeySource, SubscriptionSpecSchema } from '../../gen/tailrace/v1/subscription_pb.js';
import { DAY, type Estate, instant, seconds, text } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

type Emitted = Exclude<MessageInitShape<typeof EmittedEventSchema>, { $typeName: string }>;
type Subscription = Exclude<MessageInitShape<typeof SubscriptionSpecSchema>, { $typeName: string }>;

/** What an execution may emit; with a completion, or declared for its failure. */
export const emittedEvent = {
  type: 'order.paid',
  payload: text('paid'),
  stream: 'orders',
  batchGroup: 'one',
  tags: { team: 'a' },
  schemaVersion: 1,
  headers: { trace: 'x' },
  occurTime: instant(Date.now() - DAY),
} satisfies Emitted;

export const failureEvents = [{ reasons: [DeadLetterReason.PERMANENT], event: emittedEvent }];

export function eventSamples(estate: Estate, retryPolicy: Subscription['retryPolicy']): SampleRequest[] {
  return [...publishingSamples(estate), ...subscriptionSamples(estate, retryPolicy)];
}

function publishingSamples({ namespace, mark, flow, event }: Estate): SampleRequest[] {
  const { method } = EngineService;
  return [
    sample(method.publishEvents, {
      namespace,
      atomic: true,
      events: [
        { ...emittedEvent, eventId: `new-${mark}`, stream: `new-${mark}`, flowId: flow.id, causeEventId: event.id },
      ],
    }),
    sample(method.getEvent, { namespace, eventId: event.id }),
    sample(method.readStream, { namespace, stream: event.stream, fromVersion: 1n, backward: true, pageSize: 10 }),
    sample(AdminService.method.listEvents, {
      namespace,
      types: [event.type],
      stream: event.stream,
      flowId: event.flow,
      causeEventId: event.id,
      batchId: event.batch,
      tags: { team: 'a' },
      minPublishTime: instant(Date.now() - DAY),
      maxPublishTime: instant(Date.now() + DAY),
      includePayloads: true,
      pageSize: 10,
    }),
  ];
}

function subscriptionSamples(
  { namespace, lane, type, mark, flow, queued, subscription }: Estate,
  retryPolicy: Subscription['retryPolicy'],
): SampleRequest[] {
  const { method } = AdminService;
  const spec = {
    filter: {
      kinds: [LogEntryKind.EVENT_PUBLISHED],
      flowId: flow.id,
      executionId: queued,
      eventTypes: ['order.paid'],
      lanes: [lane],
      types: [type],
      tags: { team: 'a' },
      streams: ['orders'],
    },
    payloadMatches: [{ pointer: '/country', values: ['at'] }],
    eventTypePrefixes: ['order.'],
    streamPrefixes: ['orders/'],
    headers: { trace: 'x' },
    lane,
    type,
    priority: 5,
    delay: seconds(1),
    ttl: seconds(600),
    deadline: seconds(3_600),
    attemptTimeout: seconds(60),
    retryPolicy,
    requiredCapabilities: ['gpu'],
    tags: { team: 'b' },
    failureEvents,
    optionalInFlow: true,
  } satisfies Subscription;
  let put = 0;
  const asked = (more: Subscription) => ({
    namespace,
    subscription: { ...spec, ...more, name: `new-${++put}-${mark}` },
    expectedVersion: 0n,
  });
  const policy = {
    ...{ mode: JoinMode.QUORUM, quorum: 1, timeout: seconds(600) },
    ...{ onSatisfied: OnSatisfied.LET_RUN, onTimeout: OnJoinTimeout.RELEASE_PARTIAL },
  };
  const from = (source: KeySource['source']) => ({ source });
  const { BLOCK } = DeadHeadPolicy;
  return [
    sample(
      method.putSubscription,
      asked({ orderingKey: from({ case: 'tag', value: 'team' }), deadHeadPolicy: BLOCK }),
      asked({ concurrencyKey: from({ case: 'pointer', value: '/country' }), start: StartPosition.LATEST }),
      asked({ orderingKey: from({ case: 'flow', value: true }) }),
      asked({ orderingKey: from({ case: 'stream', value: true }) }),
      asked({ orderingKey: from({ case: 'header', value: 'trace' }) }),
      asked({ batchJoin: { eventType: 'order.paid', policy } }),
    ),
    sample(method.deleteSubscription, { namespace, subscription, expectedVersion: 0n }),
    sample(method.getSubscription, { namespace, subscription }),
    sample(method.listSubscriptions, { namespace, lane, eventType: 'order.paid', pageSize: 10 }),
  ];
}
