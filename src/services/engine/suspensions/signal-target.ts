/** Where a signal lands: the waitpoint that a token names, an execution, or one of its waitpoints. */
import type { z } from 'zod';
import type { SignalExecutionRequest } from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { id, optionalName, refuse } from '../../validation.js';

type Asked = SignalExecutionRequest['target'];
export type Target = { readonly token: string } | { readonly execution: string; readonly key: string | null };

const waitpointKey = optionalName();

/** As a rule of the whole request: the fields of a oneof stand beside the others. */
export function checkTarget({ value: { target }, issues }: z.core.ParsePayload<{ target: Asked }>): void {
  if (target.case === undefined) refuse(issues, target, 'or execution is required', ['waitpointToken']);
  if (target.case !== 'execution') return;
  const found = {
    executionId: [id, target.value.executionId],
    waitpointKey: [waitpointKey, target.value.waitpointKey],
  } as const;
  for (const [field, [rule, value]] of Object.entries(found)) {
    for (const { message } of rule.safeParse(value).error?.issues ?? []) {
      refuse(issues, value, message, ['execution', field]);
    }
  }
}

/** Of one that was checked. Whatever is no token is refused where tokens are, like any other that is not genuine. */
export function toTarget({ case: kind, value }: Asked): Target {
  if (kind !== 'execution') return { token: value ?? '' };
  return { execution: value.executionId.toLowerCase(), key: value.waitpointKey === '' ? null : value.waitpointKey };
}
