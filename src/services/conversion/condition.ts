/** Conditions between the contract and the form in which they are stored. */
import { create } from '@bufbuild/protobuf';
import {
  type Condition as ConditionMessage,
  ConditionSchema,
  type SignalCondition,
} from '../../../gen/tailrace/v1/signal_pb.js';
import { type Condition, CountDistinct, type SignalSelector } from '../../domain/condition.js';

/** As stored; undefined for a node of no kind. Members are converted down to `depth` levels and cut off below it. */
export function fromCondition({ condition }: ConditionMessage, depth: number): Condition | undefined {
  switch (condition.case) {
    case 'signal':
      return { kind: 'signal', ...fromSelector(condition.value) };
    case 'allOf': {
      const below = depth > 1 ? condition.value.members : [];
      return { kind: 'all_of', members: below.flatMap((member) => fromCondition(member, depth - 1) ?? []) };
    }
    case 'count': {
      const { count, distinct, among } = condition.value;
      return {
        kind: 'count',
        count,
        distinct: distinct === 0 ? CountDistinct.SIGNALS : distinct,
        among: among.map(fromSelector),
      };
    }
    case 'operatorOnly':
      return { kind: 'operator_only' };
    case 'timeoutOnly':
      return { kind: 'timeout_only' };
    default:
      return undefined;
  }
}

export function toCondition(stored: Condition): ConditionMessage {
  switch (stored.kind) {
    case 'signal':
      return create(ConditionSchema, { condition: { case: 'signal', value: toSelector(stored) } });
    case 'all_of':
      return create(ConditionSchema, {
        condition: { case: 'allOf', value: { members: stored.members.map(toCondition) } },
      });
    case 'count': {
      const { count, distinct, among } = stored;
      const value = { count, distinct, among: among.map(toSelector) };
      return create(ConditionSchema, { condition: { case: 'count', value } });
    }
    case 'operator_only':
      return create(ConditionSchema, { condition: { case: 'operatorOnly', value: {} } });
    case 'timeout_only':
      return create(ConditionSchema, { condition: { case: 'timeoutOnly', value: {} } });
  }
}

function fromSelector({ name, waitpointKey }: SignalCondition): SignalSelector {
  return { name, waitpoint: waitpointKey };
}

function toSelector({ name, waitpoint }: SignalSelector): { name: string; waitpointKey: string } {
  return { name, waitpointKey: waitpoint };
}
