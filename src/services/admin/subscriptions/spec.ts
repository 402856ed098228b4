/** What a subscription may say, and how that becomes its columns. */
import { clone, toJson } from '@bufbuild/protobuf';
import { z } from 'zod';
import { DeadHeadPolicy, DeadHeadPolicySchema } from '../../../../gen/tailrace/v1/execution_pb.js';
import { StartPosition, StartPositionSchema } from '../../../../gen/tailrace/v1/log_pb.js';
import {
  type BatchJoin,
  type SubscriptionSpec,
  SubscriptionSpecSchema,
} from '../../../../gen/tailrace/v1/subscription_pb.js';
import { DEFAULT_POLICY } from '../../../repository/flows/index.js';
import type { SubscriptionRule } from '../../../repository/subscriptions/index.js';
import { failureEvents, storedFailureEvents } from '../../engine/events/failure-event.js';
import { joinPolicy } from '../../engine/flows/join-policy.js';
import { retryPolicy } from '../../engine/spec.js';
import {
  always,
  CENTURY_MS,
  DAY_MS,
  duration,
  enumNumber,
  integer,
  list,
  matchedHeaders,
  name,
  names,
  optionalLane,
  optionalName,
  refuse,
  type Shape,
  tags,
  text,
} from '../../validation.js';
import { isOfLetters, keySource, payloadMatch, subscriptionFilter } from './filter.js';
import { refuseForLetters } from './of-letters.js';

export const DEFAULT_LANE = 'default';
const CURSOR_BYTES = 1_000;
const LONGEST_MS = 30 * DAY_MS;
const MAX_CAPABILITIES = 64;
const PAYLOAD_MATCHES = 16;
const PREFIXES = 64;

/** What owns a slot may have been started for others too, so that no join cancels it; and events have no sources. */
const batchJoin = z
  .object({ eventType: optionalName(), policy: joinPolicy } satisfies Shape<BatchJoin>)
  .check(({ issues, value: { policy } }) => {
    const wrong = (message: string, field: string) => refuse(issues, policy, message, ['policy', field]);
    if (policy?.cancelRest) wrong('must be LET_RUN for a batch', 'onSatisfied');
    if (policy?.distinctSources) wrong('must be false for a batch', 'distinctSources');
  })
  .optional();

export const subscriptionSpec = (maxPayloadBytes: number) =>
  z
    .object({
      name: name(),
      filter: subscriptionFilter.optional(),
      payloadMatches: list(payloadMatch, PAYLOAD_MATCHES),
      eventTypePrefixes: names(PREFIXES),
      streamPrefixes: names(PREFIXES),
      headers: matchedHeaders,
      lane: optionalLane.transform((value) => value ?? DEFAULT_LANE),
      type: name(),
      priority: integer(-1_000, 1_000),
      delay: duration(0, CENTURY_MS),
      ttl: duration(100, CENTURY_MS),
      deadline: duration(100, CENTURY_MS),
      attemptTimeout: duration(100, LONGEST_MS),
      retryPolicy,
      requiredCapabilities: names(MAX_CAPABILITIES).transform((values) => values.sort()),
      tags,
      concurrencyKey: keySource,
      orderingKey: keySource,
      deadHeadPolicy: enumNumber(DeadHeadPolicySchema),
      failureEvents: failureEvents(maxPayloadBytes),
      batchJoin,
      optionalInFlow: z.boolean(),
      start: enumNumber(StartPositionSchema),
      cursor: text(CURSOR_BYTES),
    } satisfies Shape<SubscriptionSpec>)
    .check(
      always((context) => {
        const { concurrencyKey, orderingKey, deadHeadPolicy, batchJoin: join, start, cursor } = context.value;
        const excluded = (value: unknown, other: string, field: string) =>
          refuse(context.issues, value, `must be absent when ${other} is given`, [field]);
        if (orderingKey && concurrencyKey) excluded(concurrencyKey, 'ordering_key', 'concurrencyKey');
        if (orderingKey && join) excluded(orderingKey, 'batch_join', 'orderingKey');
        if (!orderingKey && deadHeadPolicy !== DeadHeadPolicy.UNSPECIFIED) {
          refuse(context.issues, deadHeadPolicy, 'needs ordering_key', ['deadHeadPolicy']);
        }
        if (cursor !== '' && start !== StartPosition.UNSPECIFIED) excluded(start, 'cursor', 'start');
      }),
    )
    .check((context) => {
      if (isOfLetters(context.value.filter)) refuseForLetters(context);
    });

export type Spec = z.output<ReturnType<typeof subscriptionSpec>>;

/** `message`: the spec as it came. */
export function toRule(spec: Spec, message: SubscriptionSpec, classId: number): SubscriptionRule {
  const { filter, retryPolicy: retry, orderingKey, concurrencyKey, batchJoin: join } = spec;
  const key = orderingKey ?? concurrencyKey;
  const ofLetters = isOfLetters(filter);
  return {
    event_types: filter?.eventTypes ?? [],
    type_prefixes: spec.eventTypePrefixes,
    streams: filter?.streams ?? [],
    stream_prefixes: spec.streamPrefixes,
    of_letters: ofLetters,
    letter_lanes: (ofLetters && filter?.lanes) || [],
    letter_types: (ofLetters && filter?.types) || [],
    match_flow: filter?.flowId ?? null,
    match_tags: filter?.tags ?? {},
    match_headers: spec.headers,
    payload_matches: spec.payloadMatches.map(({ pointer, values }) => ({ path: pointer, values })),
    class: classId,
    priority: spec.priority,
    delay_ms: spec.delay ?? 0,
    ttl_ms: spec.ttl,
    deadline_ms: spec.deadline,
    timeout_ms: spec.attemptTimeout,
    retry_max: retry?.maxAttempts ?? null,
    retry_initial_ms: retry?.initialMs ?? null,
    retry_factor: retry?.factor ?? null,
    retry_cap_ms: retry?.capMs ?? null,
    reclaims_max: retry?.maxReclaims ?? null,
    count_lost: retry?.countLost ?? null,
    tags: spec.tags,
    optional: spec.optionalInFlow,
    key_source: key?.kind ?? null,
    key_name: key?.name ?? null,
    key_path: key?.path ?? null,
    ordered: orderingKey !== undefined,
    dead_head: orderingKey ? spec.deadHeadPolicy || DeadHeadPolicy.BLOCK : null,
    failure_events: storedFailureEvents(spec.failureEvents),
    joins: join !== undefined,
    join_type: join?.eventType ?? null,
    join_policy: join ? storedPolicy(join.policy) : null,
    spec: storedSpec(message),
  };
}

type Policy = NonNullable<Spec['batchJoin']>['policy'];

/** In the words of the barrier's columns. */
function storedPolicy(policy: Policy): object {
  const { mode, quorum, distinctSources, cancelRest, onTimeout, timeoutMs } = policy ?? DEFAULT_POLICY;
  return {
    mode,
    quorum,
    distinct_sources: distinctSources,
    cancel_rest: cancelRest,
    on_timeout: onTimeout,
    timeout_ms: timeoutMs ?? DAY_MS,
  };
}

/**
 * Equal content is equal: lists of alternatives in order, defaults filled in, without what counts at the making only. Its failure
 * events are stored beside it.
 */
function storedSpec(message: SubscriptionSpec): unknown {
  // Failure events have a column of their own; a payload in JSON may hold text that a copy would refuse.
  const spec = clone(SubscriptionSpecSchema, { ...message, failureEvents: [] });
  spec.lane ||= DEFAULT_LANE;
  spec.start = StartPosition.UNSPECIFIED;
  spec.cursor = '';
  spec.eventTypePrefixes = inOrder(spec.eventTypePrefixes);
  spec.streamPrefixes = inOrder(spec.streamPrefixes);
  spec.requiredCapabilities = inOrder(spec.requiredCapabilities);
  if (spec.filter) {
    spec.filter.eventTypes = inOrder(spec.filter.eventTypes);
    spec.filter.streams = inOrder(spec.filter.streams);
    spec.filter.lanes = inOrder(spec.filter.lanes);
    spec.filter.types = inOrder(spec.filter.types);
  }
  return toJson(SubscriptionSpecSchema, spec);
}

function inOrder(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
