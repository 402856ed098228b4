/** Why an event was not stored, as the contract says it. */
import { EngineError } from '../../../domain/errors.js';
import type { NewEvent, PublishAnswer } from '../../../repository/events/index.js';
import { flowCanceled, flowLimitExceeded, flowNotFound, flowSealed } from '../flows/refusals.js';

export function batchRefused(): EngineError {
  return new EngineError('BATCH_REFUSED', 'another event of its batch group was refused');
}

export function streamVersionConflict(stream: string, current: bigint): EngineError {
  return new EngineError('STREAM_VERSION_CONFLICT', `the stream has version ${current}`, {
    metadata: { stream, current_version: String(current) },
  });
}

export function eventRefusal(
  answer: PublishAnswer & { readonly verdict: Exclude<PublishAnswer['verdict'], 'published' | 'duplicate'> },
  { eventId, cause, flow, stream }: NewEvent,
  maxMembers: number,
): EngineError {
  const flowId = flow ?? answer.flow ?? '';
  switch (answer.verdict) {
    case 'reused':
      return new EngineError('EVENT_ID_REUSED', 'this id was used before, for other content', {
        metadata: { event_id: eventId ?? '' },
      });
    case 'too_old':
      return new EngineError('EVENT_ID_TOO_OLD', 'this id is older than ids are remembered', {
        metadata: { event_id: eventId ?? '', floor_time: answer.floor_at?.toISOString() ?? '' },
      });
    case 'no_cause':
      return new EngineError('EVENT_NOT_FOUND', `there is no event ${cause} that could be its cause`, {
        metadata: { event_id: cause ?? '' },
      });
    case 'no_flow':
      return flowNotFound(flowId);
    case 'flow_sealed':
      return flowSealed(flowId);
    case 'flow_canceled':
      return flowCanceled(flowId);
    case 'flow_full':
      return flowLimitExceeded(maxMembers);
    case 'conflict':
      return streamVersionConflict(stream ?? '', answer.version ?? 0n);
    case 'unit_refused':
      return batchRefused();
    case 'busy':
      return new EngineError('CONTENTION', 'the flow is locked by another transaction; repeat the call', {
        metadata: { flow_id: flowId },
        retryDelayMs: 100,
      });
  }
}
