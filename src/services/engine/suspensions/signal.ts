/**
 * SignalExecution. The right to signal comes first: a token is checked before anything is looked up, and every refusal for
 * want of a waitpoint that takes signals looks the same to its bearer, whatever the reason.
 */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type SignalExecutionRequest,
  type SignalExecutionResponse,
  SignalExecutionResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { SignalEffect, SignalSource, SignalSourceSchema } from '../../../../gen/tailrace/v1/signal_pb.js';
import { tellConsequences } from '../../../dispatch/after-commit.js';
import { type SignalAnswer, signalExecution } from '../../../repository/suspensions/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import { sized } from '../../payload-limits.js';
import { refuseHidden } from '../../shown.js';
import {
  always,
  enumNumber,
  name,
  namespace,
  optionalName,
  payload,
  refuse,
  type Shape,
  text,
  validate,
} from '../../validation.js';
import { contentHash } from '../content-hash.js';
import type { EngineServiceDeps } from '../deps.js';
import { executionNotFound } from '../refusals.js';
import { invalidWaitpointToken, signalRefusal } from './refusals.js';
import { checkTarget, toTarget } from './signal-target.js';

const SOURCE_BYTES = 200;

const EFFECTS: Readonly<Partial<Record<SignalAnswer['verdict'], SignalEffect>>> = {
  satisfied: SignalEffect.SATISFIED,
  appended: SignalEffect.APPENDED,
  duplicate: SignalEffect.DUPLICATE,
  ignored: SignalEffect.IGNORED,
  buffered: SignalEffect.BUFFERED,
};

const source = enumNumber(SignalSourceSchema)
  .check(({ value, issues }) => {
    if (value === SignalSource.ENGINE) refuse(issues, value, 'must not be ENGINE, which is the engine itself');
  })
  .transform((value) => value || SignalSource.SYSTEM);

export function signalExecutionCall(deps: EngineServiceDeps) {
  const { database, registry, after, tokens, signalLimits } = deps;
  const requestFor = sized(deps, (mostBytes) =>
    z
      .object({
        namespace,
        target: z.custom<SignalExecutionRequest['target']>(),
        name: name(),
        source,
        sourceId: text(SOURCE_BYTES),
        payload: payload(mostBytes),
        idempotencyKey: optionalName(),
      } satisfies Shape<SignalExecutionRequest>)
      .check(always(checkTarget)),
  );

  return async (message: SignalExecutionRequest): Promise<SignalExecutionResponse> => {
    const asked = validate(await requestFor(message.namespace), message);
    const target = toTarget(asked.target);
    const byToken = 'token' in target ? await tokens.verify(target.token) : undefined;
    // Not even the namespace is looked up for a forged one: whoever sends many must not cause as many reads.
    if ('token' in target && byToken === undefined) throw invalidWaitpointToken();
    const namespaceId = await registry.namespace(asked.namespace);
    if (byToken !== undefined && byToken.namespace !== namespaceId) throw invalidWaitpointToken();
    if (namespaceId === undefined) throw executionNotFound('token' in target ? '' : target.execution);
    const answer = await signalExecution(database, {
      namespace: namespaceId,
      target: 'token' in target ? { waitpoint: byToken?.waitpoint ?? '' } : target,
      id: uuidV7(),
      name: asked.name,
      source: asked.source,
      sourceId: asked.sourceId,
      content: asked.payload,
      once: asked.idempotencyKey,
      hash: contentHash([asked.name, asked.source, asked.sourceId], asked.payload),
      limits: signalLimits,
    });
    const effect = EFFECTS[answer.verdict];
    if (effect === undefined) {
      if (answer.verdict === 'terminal' && 'execution' in target) {
        await refuseHidden(database, namespaceId, [target.execution]);
      }
      throw signalRefusal(answer, target, signalLimits);
    }
    if (effect !== SignalEffect.DUPLICATE && effect !== SignalEffect.IGNORED) {
      after.committed(1);
      if (answer.delay_ms !== null) after.due('scheduled', Number(answer.delay_ms));
      tellConsequences(after, { woken: answer.classes, follows: answer.left_over });
    }
    return create(SignalExecutionResponseSchema, { effect, signalId: answer.signal ?? '' });
  };
}
