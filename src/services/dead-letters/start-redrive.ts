/** StartRedrive: redrives many, or only says what it would do. */
import { create, fromJson, toJson } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import { DeadLetterFilterSchema, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import {
  type StartRedriveRequest,
  type StartRedriveResponse,
  StartRedriveResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { readDeadLetters } from '../../repository/dead-letters/index.js';
import { mostOf, type NewRedrive, previewRedrive, readRedrive, startRedrive } from '../../repository/redrives/index.js';
import { uuidV7 } from '../../runtime/random.js';
import { actorOf } from '../caller.js';
import { reasonText, toBuckets } from '../conversion/bucket.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import { toPayload } from '../conversion/payload.js';
import { toRedrive } from '../conversion/redrive.js';
import { toDuration } from '../conversion/times.js';
import { contentHash } from '../engine/content-hash.js';
import { namespaceFor, namespaceIn } from '../namespace-in.js';
import { sized } from '../payload-limits.js';
import {
  always,
  counter,
  integer,
  integerOr,
  namespace,
  optionalLane,
  refuse,
  requestId,
  type Shape,
  text,
  validate,
} from '../validation.js';
import { ACTOR_BYTES, type DeadLetterServiceDeps, NOTE_BYTES, requestIdReused } from './deps.js';
import { letterFilter, toLetterFilter } from './filter.js';
import { inputPatch } from './input-patch.js';

const RATE = 100;
const CANARY = 10;
const MOST = 1_000;
const SAMPLE = 20;

/** Only open ones are redriven, and those have no resolution; and nobody redrives everything by leaving a field out. */
const narrow = always<{ filter?: z.output<typeof letterFilter> }>(({ issues, value: { filter } }) => {
  const { states = [], resolutions = [], ...others } = filter ?? {};
  if (states.length > 0 && !states.includes(DeadLetterState.OPEN)) {
    refuse(issues, filter, 'must name OPEN or be empty', ['filter', 'states']);
  }
  if (resolutions.length > 0) {
    refuse(issues, filter, 'must be empty: only OPEN ones are redriven', ['filter', 'resolutions']);
  }
  if (!Object.values(others).some(isGiven)) {
    refuse(issues, filter, 'must select something narrower than everything', ['filter']);
  }
});

function isGiven(field: unknown): boolean {
  if (field === null || field === undefined) return false;
  if (Array.isArray(field)) return field.length > 0;
  return field instanceof Date || typeof field !== 'object' || Object.keys(field).length > 0;
}

function requestFor(maxPayloadBytes: number) {
  const fields = z.object({
    namespace,
    requestId,
    filter: letterFilter,
    dryRun: z.boolean(),
    ratePerSecond: integerOr(RATE, 1, MOST),
    canaryCount: integer(0, MOST)
      .optional()
      .transform((count) => count ?? CANARY),
    canaryMaxFailures: integerOr(1, 1, MOST),
    maxCount: counter,
    detached: z.boolean(),
    lane: optionalLane,
    actor: text(ACTOR_BYTES),
    note: text(NOTE_BYTES),
    inputPatch: inputPatch(maxPayloadBytes),
  } satisfies Shape<StartRedriveRequest>);
  return fields.check(narrow);
}

type Asked = z.output<ReturnType<typeof requestFor>>;

export function startRedriveCall(deps: DeadLetterServiceDeps) {
  const { database, registry, after, redrives } = deps;
  const schemaFor = sized(deps, requestFor);
  return async (message: StartRedriveRequest, context: HandlerContext): Promise<StartRedriveResponse> => {
    const said = validate(await schemaFor(message.namespace), message);
    const asked = { ...said, actor: actorOf(context, said.actor) };
    const wanted = toNewRedrive(message, asked);
    if (asked.dryRun) return await previewOf(deps, wanted, asked.namespace);
    const namespaceId = await namespaceFor(registry, asked.namespace, context);
    const { verdict, redrive } = await startRedrive(database, namespaceId, wanted);
    if (verdict === 'reused') throw requestIdReused({ redrive_id: redrive });
    if (verdict === 'started') {
      after.committed(0);
      redrives.wake();
    }
    const row = await readRedrive(database, namespaceId, redrive);
    if (row === undefined) throw new Error('a bulk redrive that was started is not there');
    return create(StartRedriveResponseSchema, {
      redrive: toRedrive(row, asked.namespace),
      duplicate: verdict === 'duplicate',
    });
  };
}

function toNewRedrive(message: StartRedriveRequest, asked: Asked): NewRedrive {
  const { filter, ratePerSecond: rate, canaryCount: canary, canaryMaxFailures, inputPatch: patch } = asked;
  const { maxCount, detached, lane, actor, note } = asked;
  const selects = toLetterFilter(filter);
  const limits = [rate, canary, canaryMaxFailures, String(maxCount), detached, lane];
  return {
    id: uuidV7(),
    requestId: asked.requestId,
    hash: contentHash(['redrives', selects, ...limits], patch),
    filter: selects,
    shownFilter: toJson(DeadLetterFilterSchema, message.filter ?? create(DeadLetterFilterSchema)),
    ...{ rate, canary, canaryMaxFailures, maxCount, detached, lane, patch, actor, note },
  };
}

async function previewOf(
  { database, registry }: DeadLetterServiceDeps,
  wanted: NewRedrive,
  namespaceName: string,
): Promise<StartRedriveResponse> {
  const namespaceId = await namespaceIn(registry, namespaceName);
  const { rate, maxCount } = wanted;
  const found = await previewRedrive(database, namespaceId, wanted.filter, mostOf(maxCount), SAMPLE);
  const sample = await readDeadLetters(database, namespaceId, found.first);
  return create(StartRedriveResponseSchema, {
    redrive: {
      namespace: namespaceName,
      filter: fromJson(DeadLetterFilterSchema, wanted.shownFilter),
      selectedCount: BigInt(found.selected),
      ratePerSecond: rate,
      canaryCount: wanted.canary,
      canaryMaxFailures: wanted.canaryMaxFailures,
      maxCount,
      detached: wanted.detached,
      lane: wanted.lane ?? '',
      actor: wanted.actor,
      note: wanted.note,
      ...(wanted.patch && { inputPatch: toPayload(wanted.patch.type, wanted.patch.body) }),
    },
    sample: sample.sort((a, b) => (a.id < b.id ? -1 : 1)).map((row) => toDeadLetter(row, namespaceName)),
    types: toBuckets(found.types.map(({ value, n }) => [value, n])),
    reasons: toBuckets(
      found.reasons.map(({ value, n }) => [value, n]),
      reasonText,
    ),
    estimatedDuration: toDuration(Math.ceil((found.selected * 1_000) / rate)),
  });
}
