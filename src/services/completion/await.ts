/** AwaitExecutions: a question that is answered when enough has ended. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import {
  type AwaitExecutionsRequest,
  type AwaitExecutionsResponse,
  AwaitExecutionsResponseSchema,
  AwaitMode,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { EngineError } from '../../domain/errors.js';
import { withEither } from '../../runtime/either-signal.js';
import { toTimestamp } from '../conversion/times.js';
import { drainingOf } from '../draining.js';
import { refuseHidden } from '../shown.js';
import { validate } from '../validation.js';
import type { CompletionDependencies } from './index.js';
import { toOutcome } from './outcome.js';
import { awaitExecutionsRequest } from './requests.js';

/** What ended so lately is shown: nothing is kept for less. */
const LATELY_MS = 1_000;

export function awaitExecutions({ live, database, namespaceId }: CompletionDependencies) {
  return async (request: AwaitExecutionsRequest, context: HandlerContext): Promise<AwaitExecutionsResponse> => {
    const asked = validate(awaitExecutionsRequest, request);
    const ids = asked.executionIds;
    const any = asked.mode === AwaitMode.ANY;
    const wanted = { namespace: await namespaceId(asked.namespace, context), ids, any, timeoutMs: asked.timeout };
    // A server that drains answers with what is known by then; the caller asks on elsewhere.
    const known = await withEither([context.signal, drainingOf(context)], (signal) => live.awaitEnds(wanted, signal));
    const executions = ids.map((id) => {
      const found = known.get(id);
      if (found) return found;
      throw new EngineError('EXECUTION_NOT_FOUND', `there is no execution ${id}`, { metadata: { execution_id: id } });
    });
    const lately = live.now().getTime() - LATELY_MS;
    const before = executions.filter(({ outcome }) => outcome !== undefined && outcome.endedAt.getTime() < lately);
    await refuseHidden(
      database,
      wanted.namespace,
      before.map(({ id }) => id),
    );
    const ended = executions.filter(({ outcome }) => outcome !== undefined).length;
    return create(AwaitExecutionsResponseSchema, {
      done: any ? ended > 0 : ended === ids.length,
      executions: executions.map(({ id, state, outcome, type, lane, createdAt }) => ({
        executionId: id,
        state,
        type,
        lane,
        createTime: toTimestamp(createdAt),
        ...(outcome && { outcome: toOutcome(outcome, asked.omitResults) }),
      })),
    });
  };
}
