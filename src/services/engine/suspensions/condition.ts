/** The condition of a suspension: every node checked, and turned into what is stored. */
import { toBinary } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type Condition as ConditionMessage,
  ConditionSchema,
  CountDistinctSchema,
  type SignalCondition,
} from '../../../../gen/tailrace/v1/signal_pb.js';
import { type Condition, type Countable, MAX_BYTES, MAX_DEPTH, nodeFault } from '../../../domain/condition.js';
import { fromCondition } from '../../conversion/condition.js';
import { enumNumber, optionalName, refuse } from '../../validation.js';

type Path = (string | number)[];
type Found = (path: Path, found: unknown, message: string) => void;

const selected = optionalName();
const distinct = enumNumber(CountDistinctSchema);

export function condition(most: Countable) {
  return z
    .custom<ConditionMessage>()
    .optional()
    .transform((message, context): Condition => {
      let faults = 0;
      const fault: Found = (path, found, text) => {
        faults++;
        refuse(context.issues, found, text, path);
      };
      const stored = message === undefined ? undefined : checked(message, most, fault);
      if (message === undefined) fault([], message, 'is required');
      return stored === undefined || faults > 0 ? z.NEVER : stored;
    });
}

/** The size comes first, so that what follows is bounded by it. */
function checked(message: ConditionMessage, most: Countable, fault: Found): Condition | undefined {
  const { length } = toBinary(ConditionSchema, message);
  if (length > MAX_BYTES) {
    fault([], message, `must have at most ${MAX_BYTES} bytes; it has ${length}`);
    return undefined;
  }
  checkNode(message, 1, [], most, fault);
  return fromCondition(message, MAX_DEPTH);
}

function checkNode(message: ConditionMessage, depth: number, path: Path, most: Countable, fault: Found): void {
  const { condition: node } = message;
  const stored = fromCondition(message, 2);
  if (node.case === undefined || stored === undefined) {
    fault(path, message, 'must be of one kind');
    return;
  }
  const here = [...path, node.case];
  const wrong = nodeFault(stored, depth, most);
  if (wrong) fault(wrong.field ? [...here, wrong.field] : here, message, wrong.message);
  if (depth > MAX_DEPTH) return;
  if (node.case === 'signal') checkSelector(node.value, here, fault);
  if (node.case === 'allOf') {
    node.value.members.forEach((member, i) => {
      checkNode(member, depth + 1, [...here, 'members', i], most, fault);
    });
  }
  if (node.case === 'count') {
    const parsed = distinct.safeParse(node.value.distinct);
    for (const { message: text } of parsed.error?.issues ?? []) fault([...here, 'distinct'], node.value.distinct, text);
    node.value.among.forEach((selector, i) => {
      checkSelector(selector, [...here, 'among', i], fault);
    });
  }
}

function checkSelector({ name, waitpointKey }: SignalCondition, path: Path, fault: Found): void {
  for (const [field, value] of Object.entries({ name, waitpointKey })) {
    for (const { message } of selected.safeParse(value).error?.issues ?? []) fault([...path, field], value, message);
  }
}
