/** PublishEvents. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PublishEventResult,
  PublishEventResultSchema,
  type PublishEventsRequest,
  type PublishEventsResponse,
  PublishEventsResponseSchema,
  type PublishedEvent,
  PublishedEventSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import type { EventSpec } from '../../../../gen/tailrace/v1/event_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import type { NewEvent, PublishAnswer } from '../../../repository/events/index.js';
import { traceOf } from '../../call-trace.js';
import { toBatchPosition } from '../../conversion/event.js';
import { toItemError } from '../../errors.js';
import { namespaceFor } from '../../namespace-in.js';
import { sized } from '../../payload-limits.js';
import { list, namespace, refuse, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { type Checked, checkItems, refuseRepeats, throwMalformed } from '../items.js';
import { type EventAsked, eventSpec } from './event-spec.js';
import { planPublication } from './plan.js';
import { batchRefused, eventRefusal } from './refusals.js';

const MAX_ITEMS = 1_000;
const MAX_BATCH = 10_000;

const request = z
  .object({
    namespace,
    events: list(z.custom<EventSpec>(), MAX_BATCH, 1),
    atomic: z.boolean(),
  } satisfies Shape<PublishEventsRequest>)
  .check((context) => {
    const { events } = context.value;
    const [first] = events;
    if (
      events.length <= MAX_ITEMS ||
      (first?.batchGroup && events.every((event) => event.batchGroup === first.batchGroup))
    ) {
      return;
    }
    const found = `must have at most ${MAX_ITEMS} items, or be one batch group; it has ${events.length}`;
    refuse(context.issues, events.length, found, ['events']);
  });

export function publishEventsCall(deps: EngineServiceDeps) {
  const specFor = sized(deps, eventSpec);
  return async (message: PublishEventsRequest, context: HandlerContext): Promise<PublishEventsResponse> => {
    const asked = validate(request, message);
    let checked = checkItems(await specFor(asked.namespace), asked.events, 'events');
    checked = refuseRepeats(
      checked,
      (item) => item.eventId,
      (i) => `events[${i}].event_id`,
    );
    throwMalformed(checked);
    if (asked.atomic) for (const entry of checked) if ('refused' in entry) throw entry.refused;
    checked = refuseGroups(checked, asked.events);
    const results = await decide(deps, asked.namespace, checked, asked.atomic, context);
    return create(PublishEventsResponseSchema, { results });
  };
}

/** What was refused already takes its group with it. */
function refuseGroups(checked: Checked<EventAsked>[], asked: readonly EventSpec[]): Checked<EventAsked>[] {
  const fallen = new Set(
    asked.flatMap(({ batchGroup }, i) => ('refused' in (checked[i] ?? {}) && batchGroup ? [batchGroup] : [])),
  );
  if (fallen.size === 0) return checked;
  return checked.map((entry) =>
    'item' in entry && fallen.has(entry.item.batchGroup ?? '') ? { refused: batchRefused() } : entry,
  );
}

async function decide(
  deps: EngineServiceDeps,
  name: string,
  checked: readonly Checked<EventAsked>[],
  atomic: boolean,
  context: HandlerContext,
): Promise<PublishEventResult[]> {
  const of = await namespaceFor(deps.registry, name, context);
  const items = checked.flatMap((entry, i) => ('item' in entry ? [{ i, item: entry.item }] : []));
  const planned = planPublication(
    items.map(({ item }) => item),
    of,
    atomic,
    traceOf(context),
  );
  const results = checked.map((entry) => ('refused' in entry ? refused(entry.refused) : undefined));
  if (planned.length === 0) return results as PublishEventResult[];
  const answers = await deps.writers.publish(planned.map(({ event }) => event));
  const cursors = await cursorsOf(deps, of, answers);
  let first: EngineError | undefined;
  planned.forEach(({ at, event }, place) => {
    const answer = answers[place];
    const target = items[at];
    if (answer === undefined || target === undefined) throw new Error('an event was left without an answer');
    const value = toPublished(answer, event, cursors, deps.flowLimits.members);
    if (value instanceof EngineError) {
      if (value.reason !== 'BATCH_REFUSED') first ??= value;
      results[target.i] = refused(value);
    } else {
      results[target.i] = create(PublishEventResultSchema, { result: { case: 'ok', value } });
    }
  });
  if (atomic && first) throw first;
  return results as PublishEventResult[];
}

/** Once they are final. Empty for what the log no longer has. */
async function cursorsOf(
  { log }: EngineServiceDeps,
  of: number,
  answers: readonly PublishAnswer[],
): Promise<(answer: PublishAnswer) => string> {
  const [places, incarnation] = await Promise.all([
    log.places(answers.flatMap(({ seq }) => (seq === null ? [] : [seq]))),
    log.incarnation(),
  ]);
  return ({ seq, idx }) => {
    const base = seq === null ? undefined : places.get(seq);
    if (!base || idx === null) return '';
    return cursorAt({ namespace: of, incarnation }, base + BigInt(idx - 1));
  };
}

function toPublished(
  answer: PublishAnswer,
  event: NewEvent,
  cursorOf: (answer: PublishAnswer) => string,
  maxMembers: number,
): PublishedEvent | EngineError {
  const { verdict } = answer;
  if (verdict !== 'published' && verdict !== 'duplicate')
    return eventRefusal({ ...answer, verdict }, event, maxMembers);
  return create(PublishedEventSchema, {
    eventId: event.eventId ?? answer.event ?? '',
    cursor: cursorOf(answer),
    streamVersion: answer.version ?? 0n,
    flowId: answer.flow ?? '',
    duplicate: verdict === 'duplicate',
    hops: answer.hops ?? 0,
    batch: toBatchPosition(answer),
  });
}

function refused(error: EngineError): PublishEventResult {
  return create(PublishEventResultSchema, { result: { case: 'error', value: toItemError(error) } });
}
