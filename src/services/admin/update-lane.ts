/** UpdateLane: settings, by mask, and draining. */
import { create } from '@bufbuild/protobuf';
import type { FieldMask } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import {
  type UpdateLaneRequest,
  type UpdateLaneResponse,
  UpdateLaneResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type LaneSettings, LaneStateSchema } from '../../../gen/tailrace/v1/lane_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { EngineError } from '../../domain/errors.js';
import { LaneState } from '../../domain/states.js';
import type { LanePatch } from '../../repository/lanes/index.js';
import { retryPolicy } from '../engine/spec.js';
import {
  CENTURY_MS,
  counter,
  DAY_MS,
  duration,
  enumNumber,
  lane,
  namespace,
  refuse,
  SECOND_MS,
  type Shape,
  shown,
  text,
  unbuilt,
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { applied, REASON_BYTES } from './lanes.js';

const LONGEST_MS = 30 * DAY_MS;
const UNBUILT = ['concurrency_limit', 'rate_limit', 'default_key_limit', 'key_limits'];

const settings = z.object({
  concurrencyLimit: unbuilt('limits of lanes'),
  rateLimit: unbuilt('limits of lanes'),
  defaultKeyLimit: unbuilt('concurrency keys'),
  keyLimits: unbuilt('concurrency keys'),
  agingInterval: duration(SECOND_MS, LONGEST_MS),
  retryPolicy,
  attemptTimeout: duration(100, LONGEST_MS),
  ttl: duration(100, CENTURY_MS),
} satisfies Shape<LaneSettings>);

/** Which columns a path of the mask takes over. */
const COLUMNS: Readonly<Record<string, readonly (keyof LanePatch)[]>> = {
  aging_interval: ['aging_ms'],
  attempt_timeout: ['timeout_ms'],
  ttl: ['ttl_ms'],
  retry_policy: ['retry_max', 'retry_initial_ms', 'retry_factor', 'retry_cap_ms', 'reclaims_max', 'count_lost'],
  'retry_policy.max_attempts': ['retry_max'],
  'retry_policy.initial_backoff': ['retry_initial_ms'],
  'retry_policy.backoff_factor': ['retry_factor'],
  'retry_policy.max_backoff': ['retry_cap_ms'],
  'retry_policy.max_reclaims': ['reclaims_max'],
  'retry_policy.count_lost_leases': ['count_lost'],
};

const mask = z.custom<FieldMask>().check((context) => {
  context.value.paths.forEach((path, i) => {
    if (path in COLUMNS || UNBUILT.includes(path)) return;
    refuse(context.issues, path, `must be the path of a setting; it is ${shown(path)}`, ['paths', i]);
  });
});

const state = enumNumber(LaneStateSchema).check((context) => {
  if (context.value === LaneState.PAUSED) refuse(context.issues, context.value, 'must not be PAUSED; call PauseLane');
});

const request = z.object({
  namespace,
  lane,
  settings: settings.optional(),
  updateMask: mask.optional(),
  state,
  expectedVersion: counter,
  reason: text(REASON_BYTES),
} satisfies Shape<UpdateLaneRequest>);

export function updateLaneCall(deps: AdminServiceDeps) {
  return async (message: UpdateLaneRequest): Promise<UpdateLaneResponse> => {
    const asked = validate(request, message);
    const changed = await applied(deps, {
      namespace: asked.namespace,
      lane: asked.lane,
      make: true,
      expectedVersion: asked.expectedVersion,
      patch: { ...settingsPatch(asked), ...statePatch(asked) },
      kind: LogEntryKind.LANE_UPDATED,
      reason: asked.reason,
    });
    return create(UpdateLaneResponseSchema, { lane: changed });
  };
}

type Asked = z.output<typeof request>;

function settingsPatch({ settings: given, updateMask }: Asked): LanePatch {
  const paths = updateMask?.paths ?? [];
  if (given === undefined && paths.length === 0) return {};
  const policy = given?.retryPolicy;
  const all: LanePatch = {
    aging_ms: given?.agingInterval ?? null,
    timeout_ms: given?.attemptTimeout ?? null,
    ttl_ms: given?.ttl ?? null,
    retry_max: policy?.maxAttempts ?? null,
    retry_initial_ms: policy?.initialMs ?? null,
    retry_factor: policy?.factor ?? null,
    retry_cap_ms: policy?.capMs ?? null,
    reclaims_max: policy?.maxReclaims ?? null,
    count_lost: policy?.countLost ?? null,
  };
  if (paths.length === 0) return all;
  const unready = paths.find((path) => UNBUILT.includes(path));
  if (unready !== undefined) {
    throw new EngineError('UNIMPLEMENTED', `${unready} of lanes is not built yet`, { metadata: { field: unready } });
  }
  const columns = new Set(paths.flatMap((path) => COLUMNS[path] ?? []));
  return Object.fromEntries(Object.entries(all).filter(([column]) => columns.has(column as keyof LanePatch)));
}

function statePatch({ state: wanted, reason }: Asked): LanePatch {
  if (wanted === 0) return {};
  return { state: wanted, state_reason: wanted === LaneState.DRAINING ? reason : '' };
}
