/** GetLane, ListLanes, PauseLane, ResumeLane. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type GetLaneRequest,
  type GetLaneResponse,
  GetLaneResponseSchema,
  type ListLanesRequest,
  type ListLanesResponse,
  ListLanesResponseSchema,
  type PauseLaneRequest,
  type PauseLaneResponse,
  PauseLaneResponseSchema,
  type ResumeLaneRequest,
  type ResumeLaneResponse,
  ResumeLaneResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type Lane, LaneStateSchema } from '../../../gen/tailrace/v1/lane_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { cursorAt } from '../../domain/cursor.js';
import { EngineError } from '../../domain/errors.js';
import { LaneState } from '../../domain/states.js';
import { changeLane, type LaneChange, listLanes, readLane } from '../../repository/lanes/index.js';
import { actorOf } from '../caller.js';
import { toLane } from '../conversion/lane.js';
import { namespaceFor, namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import {
  counter,
  enumNumbers,
  lane,
  namespace,
  pageSize,
  pageToken,
  type Shape,
  text,
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { orNull } from './selection.js';

export const REASON_BYTES = 1_024;

const getRequest = z.object({ namespace, lane } satisfies Shape<GetLaneRequest>);
const listRequest = z.object({
  namespace,
  states: enumNumbers(LaneStateSchema).transform(orNull),
  pageSize,
  pageToken,
} satisfies Shape<ListLanesRequest>);
const stepRequest = z.object({
  namespace,
  lane,
  reason: text(REASON_BYTES),
  expectedVersion: counter,
} satisfies Shape<PauseLaneRequest> & Shape<ResumeLaneRequest>);

export function getLaneCall(deps: AdminServiceDeps) {
  return async (message: GetLaneRequest): Promise<GetLaneResponse> => {
    const asked = validate(getRequest, message);
    return create(GetLaneResponseSchema, { lane: await laneNow(deps, asked.namespace, asked.lane) });
  };
}

export function listLanesCall({ database, registry, source }: AdminServiceDeps) {
  return async (message: ListLanesRequest): Promise<ListLanesResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(listRequest, message);
    const pages = new Pages('ListLanes', asked, ['text']);
    const [after = ''] = pages.keys(token) ?? [];
    const id = await namespaceIn(registry, asked.namespace);
    const page = { namespace: id, states: asked.states, after, size, keys: true };
    const { lanes, more } = await listLanes(database, page);
    const { incarnation } = await source.head();
    const last = more ? lanes.at(-1) : undefined;
    return create(ListLanesResponseSchema, {
      lanes: lanes.map((row) =>
        toLane(row, asked.namespace, (position) => cursorAt({ namespace: id, incarnation }, position)),
      ),
      nextPageToken: pages.token(last && [last.name]),
    });
  };
}

export function pauseLaneCall(deps: AdminServiceDeps) {
  return async (message: PauseLaneRequest, context: HandlerContext): Promise<PauseLaneResponse> => {
    const { reason, ...asked } = validate(stepRequest, message);
    const patch = { state: LaneState.PAUSED, state_reason: reason };
    const changed = await applied(
      deps,
      { ...asked, make: true, patch, kind: LogEntryKind.LANE_PAUSED, reason },
      context,
    );
    return create(PauseLaneResponseSchema, { lane: changed });
  };
}

export function resumeLaneCall(deps: AdminServiceDeps) {
  return async (message: ResumeLaneRequest, context: HandlerContext): Promise<ResumeLaneResponse> => {
    const { reason, ...asked } = validate(stepRequest, message);
    const patch = { state: LaneState.OPEN, state_reason: '' };
    const changed = await applied(
      deps,
      { ...asked, make: false, patch, kind: LogEntryKind.LANE_RESUMED, reason },
      context,
    );
    return create(ResumeLaneResponseSchema, { lane: changed });
  };
}

type Change = Omit<LaneChange, 'namespace' | 'actor'> & { readonly namespace: string };

/** Changes a lane, and answers it. */
export async function applied(deps: AdminServiceDeps, asked: Change, context: HandlerContext): Promise<Lane> {
  await changed(deps, asked, context);
  return await laneNow(deps, asked.namespace, asked.lane);
}

/** Changes a lane, makes this process know it, and wakes those who wait for what it holds. */
export async function changed(
  deps: AdminServiceDeps,
  { namespace: name, ...asked }: Change,
  context: HandlerContext,
): Promise<void> {
  const { database, registry, after } = deps;
  const id = asked.make ? await namespaceFor(registry, name, context) : await namespaceIn(registry, name);
  const answer = await changeLane(database, { ...asked, namespace: id, actor: actorOf(context) });
  if (answer.verdict === 'not_found') throw laneNotFound(asked.lane);
  if (answer.verdict === 'conflict') {
    throw new EngineError('VERSION_CONFLICT', `lane ${asked.lane} has version ${answer.version}`, {
      metadata: { lane: asked.lane, current_version: String(answer.version) },
    });
  }
  await registry.refresh();
  after.committed(0);
  for (const classId of answer.classes ?? []) after.queued(classId, Number.POSITIVE_INFINITY);
  // Keys whose limit is another one now are balanced right after.
  if (answer.verdict === 'changed') after.due('followUps', 0);
}

async function laneNow({ database, registry, source }: AdminServiceDeps, name: string, of: string): Promise<Lane> {
  const id = await namespaceIn(registry, name);
  const row = await readLane(database, id, of);
  if (row === undefined) throw laneNotFound(of);
  const { incarnation } = await source.head();
  return toLane(row, name, (position) => cursorAt({ namespace: id, incarnation }, position));
}

function laneNotFound(name: string): EngineError {
  return new EngineError('LANE_NOT_FOUND', `lane ${name} was never used`, { metadata: { lane: name } });
}
