/** ReleaseLeases and DelayExecution: the attempt ends and counts nothing, the work goes on at once or later. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type DelayExecutionRequest,
  type DelayExecutionResponse,
  DelayExecutionResponseSchema,
  type ReleasedLease,
  ReleasedLeaseSchema,
  type ReleaseLeasesRequest,
  type ReleaseLeasesResponse,
  ReleaseLeasesResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { LeaseRef } from '../../../gen/tailrace/v1/lease_pb.js';
import type { EngineError } from '../../domain/errors.js';
import { EndCall } from '../../domain/states.js';
import { type EndAnswer, isRefused } from '../../repository/leases/index.js';
import { toTimestamp } from '../conversion/times.js';
import { CENTURY_MS, duration, list, namespace, refuse, type Shape, text, timestamp, validate } from '../validation.js';
import { contentHash } from './content-hash.js';
import type { EngineServiceDeps } from './deps.js';
import { answerEach, checkItems, refuseRepeats } from './items.js';
import { heldLease, leaseRef } from './lease-ref.js';
import { refusalOf } from './refusals.js';
import { required } from './required.js';

const MAX_ITEMS = 1_000;
const REASON_BYTES = 1_024;

const release = z.object({
  namespace,
  leases: list(z.custom<LeaseRef>(), MAX_ITEMS, 1),
  reason: text(REASON_BYTES),
} satisfies Shape<ReleaseLeasesRequest>);

export function releaseLeasesCall({ registry, writers }: EngineServiceDeps) {
  return async (message: ReleaseLeasesRequest): Promise<ReleaseLeasesResponse> => {
    const asked = validate(release, message);
    const namespaceId = await registry.namespace(asked.namespace);
    const checked = refuseRepeats(
      checkItems(leaseRef, asked.leases, 'leases'),
      (item) => item.executionId,
      (i) => `leases[${i}].execution_id`,
    );
    const hash = contentHash([asked.reason], null);
    const results = await answerEach(
      checked,
      (items) =>
        writers.end(
          EndCall.RELEASE,
          items.map((item) => ({
            ...heldLease(item, namespaceId),
            hash,
            failure: null,
            message: asked.reason,
            runAt: null,
            delayMs: null,
            content: null,
          })),
        ),
      (answer, item) => toReleased(answer, item.executionId),
    );
    return create(ReleaseLeasesResponseSchema, { results });
  };
}

function toReleased(answer: EndAnswer, execution: string): ReleasedLease | EngineError {
  if (isRefused(answer)) return refusalOf(answer, execution);
  return create(ReleasedLeaseSchema, { state: answer.state, duplicate: answer.verdict === 'duplicate' });
}

const delay = z
  .object({
    namespace,
    lease: required(leaseRef),
    runTime: timestamp,
    delay: duration(0, CENTURY_MS),
    reason: text(REASON_BYTES),
  } satisfies Shape<DelayExecutionRequest>)
  .check((context) => {
    const { runTime, delay: span } = context.value;
    if ((runTime === null) === (span === null)) {
      refuse(context.issues, runTime, 'or delay is required, and not both', ['runTime']);
    }
  });

export function delayExecutionCall({ registry, writers }: EngineServiceDeps) {
  return async (message: DelayExecutionRequest): Promise<DelayExecutionResponse> => {
    const asked = validate(delay, message);
    const { lease, runTime, delay: span, reason } = asked;
    const [answer] = await writers.end(EndCall.DELAY, [
      {
        ...heldLease(lease, await registry.namespace(asked.namespace)),
        hash: contentHash([runTime, span, reason], null),
        failure: null,
        message: reason,
        runAt: runTime,
        delayMs: span,
        content: null,
      },
    ]);
    if (answer === undefined) throw new Error('a delay was left without an answer');
    if (isRefused(answer)) throw refusalOf(answer, lease.executionId);
    return create(DelayExecutionResponseSchema, {
      state: answer.state,
      duplicate: answer.verdict === 'duplicate',
      ...(answer.run_at && { runTime: toTimestamp(answer.run_at) }),
    });
  };
}
