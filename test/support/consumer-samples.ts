/** A request to each RPC about consumers. */
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { ConsumerState, PoisonPolicy, SplitKey } from '../../gen/tailrace/v1/consumer_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { type Estate, HOUR, instant, seconds, text } from './estate.js';
import { type SampleRequest, sample } from './sample.js';

export function consumerSamples(estate: Estate): SampleRequest[] {
  const { namespace, mark, event, flow, queued, lane, type } = estate;
  const { name: consumer, ownerId, part, cursor, entryCursor } = estate.consumer;
  const completion = CompletionService.method;
  const admin = AdminService.method;
  const held = { namespace, consumer, ownerId, part };
  const change = { namespace, consumer, expectedVersion: 0n, reason: 'a look' };
  const failure = { failureClass: FailureClass.RATE_LIMITED, message: 'later', code: 'Busy', details: text('why') };
  return [
    sample(completion.acquireConsumer, {
      ...{ namespace, consumer, ownerId, maxParts: 2, generation: 1n },
      leaseDuration: seconds(3_600),
      wait: seconds(0),
    }),
    sample(completion.fetchEntries, { ...held, maxEntries: 10, wait: seconds(0) }),
    sample(completion.commitEntries, { ...held, fromCursor: cursor, toCursor: entryCursor }),
    sample(completion.failEntry, {
      ...held,
      ...{ entryCursor, failure, deadLetterId: estate.letter.id, previousTries: 1 },
      retryTime: instant(Date.now() + HOUR),
    }),
    sample(completion.releaseConsumer, { namespace, consumer, ownerId, parts: [part] }),
    sample(completion.awaitConsumer, { namespace, consumer, cursor, timeout: seconds(0) }),
    sample(admin.putConsumer, {
      namespace,
      consumer: {
        name: `new-consumer-${mark}`,
        filter: {
          ...{ kinds: [LogEntryKind.EVENT_PUBLISHED], flowId: flow.id, executionId: queued, eventTypes: [event.type] },
          ...{ lanes: [lane], types: [type], tags: { team: 'a' }, streams: [event.stream] },
        },
        ...{ splitKey: SplitKey.STREAM, partCount: 4, maxTries: 5 },
        ...{ initialBackoff: seconds(1), maxBackoff: seconds(60) },
        ...{ poisonPolicy: PoisonPolicy.PARK, maxParked: 100, holdLog: true },
      },
      expectedVersion: 0n,
    }),
    sample(admin.getConsumer, { namespace, consumer }),
    sample(admin.listConsumers, { namespace, states: [ConsumerState.ACTIVE], pageSize: 10 }),
    sample(admin.pauseConsumer, change),
    sample(admin.resumeConsumer, change),
    sample(
      admin.resetConsumer,
      { ...change, cursor: estate.cursor },
      { ...change, start: StartPosition.EARLIEST },
      { ...change, time: instant(Date.now() - HOUR) },
      { ...change, cursor: estate.cursor }, // the last is what is tried
    ),
    sample(admin.rebuildConsumer, {
      ...change,
      ...{ cursor: estate.cursor, partCount: 2, promoteWhenCaughtUp: true },
    }),
    sample(admin.promoteConsumer, { ...change, generation: 2n }),
  ];
}
