/** ResumeExecution. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ResumeExecutionRequest,
  type ResumeExecutionResponse,
  ResumeExecutionResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { tellConsequences } from '../../../dispatch/after-commit.js';
import { EngineError } from '../../../domain/errors.js';
import { ExecutionState, stateName } from '../../../domain/states.js';
import { resumeSuspended } from '../../../repository/suspensions/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import { actorOf } from '../../caller.js';
import { executionNotFound, refusalOf } from '../../engine/refusals.js';
import { namespaceIn } from '../../namespace-in.js';
import { sized } from '../../payload-limits.js';
import { refuseHidden } from '../../shown.js';
import { id, integer, namespace, optionalName, payload, type Shape, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';

const ACTOR_BYTES = 200;
const NOTE_BYTES = 4_096;
const MOST_SUSPENSIONS = 2 ** 31 - 1;
const SIGNAL_NAME = 'resume';

export function resumeExecutionCall(deps: AdminServiceDeps) {
  const { database, registry, after } = deps;
  const requestFor = sized(deps, (mostBytes) =>
    z.object({
      namespace,
      executionId: id,
      suspensionNumber: integer(0, MOST_SUSPENSIONS).transform((number) => (number === 0 ? null : number)),
      signalName: optionalName().transform((given) => given ?? SIGNAL_NAME),
      payload: payload(mostBytes),
      actor: text(ACTOR_BYTES),
      note: text(NOTE_BYTES),
    } satisfies Shape<ResumeExecutionRequest>),
  );
  return async (message: ResumeExecutionRequest, context: HandlerContext): Promise<ResumeExecutionResponse> => {
    const asked = validate(await requestFor(message.namespace), message);
    const { executionId, suspensionNumber } = asked;
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const answer = await resumeSuspended(database, {
      namespace: namespaceId,
      execution: executionId,
      number: suspensionNumber,
      id: uuidV7(),
      name: asked.signalName,
      actor: actorOf(context, asked.actor),
      content: asked.payload,
      note: asked.note,
    });
    const { verdict, state } = answer;
    if (verdict === 'not_found') throw executionNotFound(executionId);
    if (verdict === 'terminal') {
      await refuseHidden(database, namespaceId, [executionId]);
      throw refusalOf({ ...answer, verdict }, executionId);
    }
    if (verdict === 'not_suspended' || state === null) throw notSuspended(executionId, state ?? 0, suspensionNumber);
    after.committed(1);
    tellConsequences(after, { woken: answer.classes, follows: answer.left_over });
    if (answer.delay_ms !== null) after.due('scheduled', Number(answer.delay_ms));
    return create(ResumeExecutionResponseSchema, { state });
  };
}

function notSuspended(execution: string, state: number, number: number | null): EngineError {
  const where =
    state === ExecutionState.SUSPENDED
      ? `its suspension ${number} is not the present one`
      : `it is ${stateName(state)}`;
  return new EngineError('NOT_SUSPENDED', `execution ${execution} cannot be resumed: ${where}`, {
    metadata: { execution_id: execution, state: stateName(state) },
  });
}
