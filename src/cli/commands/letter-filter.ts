/** Which dead letters a command is about. */
import { DeadLetterResolutionSchema, DeadLetterStateSchema } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReasonSchema } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { Given } from '../command.js';
import { fields } from '../fields.js';
import { CREATED } from '../recurring-options.js';
import { choices, pairs, text, texts } from '../rules.js';

export const LETTERS = {
  lane: texts('lane', 'Only those of this lane.', { names: 'lanes' }),
  type: texts('type', 'Only executions of this type.'),
  reason: choices(DeadLetterReasonSchema, 'Only those that gave up for this reason.'),
  fingerprint: texts('fingerprint', 'Only this group (tailrace dead-letters groups).'),
  subscription: texts('name', 'Only what this subscription has made.', { names: 'subscriptions' }),
  consumer: texts('name', 'Only entries of this consumer.', { names: 'consumers' }),
  flow: text('flow', 'Only those of this flow.'),
  execution: text('execution', 'Only those of this execution.'),
  eventType: texts('type', 'Only those about events of this type.'),
  tag: pairs('Only those with this tag.'),
  ...CREATED,
};

/** Where closed ones count too. */
export const STATES = {
  state: choices(DeadLetterStateSchema, 'Only those in this state.'),
  resolution: choices(DeadLetterResolutionSchema, 'Only those closed in this way.'),
};

export function letterFilter(given: Given<typeof LETTERS> & Partial<Given<typeof STATES>>) {
  return fields({
    lanes: [...given.lane],
    types: [...given.type],
    reasons: [...given.reason],
    fingerprints: [...given.fingerprint],
    subscriptions: [...given.subscription],
    consumers: [...given.consumer],
    flowId: given.flow,
    executionId: given.execution,
    eventTypes: [...given.eventType],
    tags: { ...given.tag },
    minCreateTime: given.since,
    maxCreateTime: given.until,
    states: [...(given.state ?? [])],
    resolutions: [...(given.resolution ?? [])],
  });
}
