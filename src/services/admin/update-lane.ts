/** UpdateLane: settings, by mask, and draining. */
import { create } from '@bufbuild/protobuf';
import type { FieldMask } from '@bufbuild/protobuf/wkt';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type UpdateLaneRequest,
  type UpdateLaneResponse,
  UpdateLaneResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type LaneSettings, LaneStateSchema } from '../../../gen/tailrace/v1/lane_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { LaneState } from '../../domain/states.js';
import type { KeyLimit, LanePatch, QuotaPatch } from '../../repository/lanes/index.js';
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
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { applied, REASON_BYTES } from './lanes.js';
import { keyLimits, limit, rateLimit } from './quotas/limits.js';

const LONGEST_MS = 30 * DAY_MS;

const settings = z.object({
  concurrencyLimit: limit,
  rateLimit,
  defaultKeyLimit: limit,
  keyLimits,
  agingInterval: duration(SECOND_MS, LONGEST_MS),
  retryPolicy,
  attemptTimeout: duration(100, LONGEST_MS),
  ttl: duration(100, CENTURY_MS),
} satisfies Shape<LaneSettings>);

type Settings = Omit<LanePatch, 'state' | 'state_reason'>;

/** Which columns of a lane a path of the mask takes over. */
const COLUMNS: Readonly<Record<string, readonly (keyof Settings)[]>> = {
  default_key_limit: ['default_key_limit'],
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

/** Of its quota, which stands in a row of its own. */
const QUOTA_COLUMNS: Readonly<Record<string, readonly (keyof QuotaPatch)[]>> = {
  concurrency_limit: ['max_running'],
  rate_limit: ['max_starts', 'window_ms'],
};

const KEYS = 'key_limits';

const mask = z.custom<FieldMask>().check((context) => {
  context.value.paths.forEach((path, i) => {
    if (path in COLUMNS || path in QUOTA_COLUMNS || path === KEYS) return;
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
  return async (message: UpdateLaneRequest, context: HandlerContext): Promise<UpdateLaneResponse> => {
    const asked = validate(request, message);
    const change = {
      namespace: asked.namespace,
      lane: asked.lane,
      make: true,
      expectedVersion: asked.expectedVersion,
      patch: { ...settingsPatch(asked), ...statePatch(asked) },
      quota: quotaPatch(asked),
      keys: keysAsked(asked),
      kind: LogEntryKind.LANE_UPDATED,
      reason: asked.reason,
    };
    return create(UpdateLaneResponseSchema, { lane: await applied(deps, change, context) });
  };
}

type Asked = z.output<typeof request>;

function settingsPatch(asked: Asked): Settings {
  if (!takesAnything(asked)) return {};
  const { settings: given } = asked;
  const policy = given?.retryPolicy;
  return masked<Settings>(asked, COLUMNS, {
    default_key_limit: given?.defaultKeyLimit ?? null,
    aging_ms: given?.agingInterval ?? null,
    timeout_ms: given?.attemptTimeout ?? null,
    ttl_ms: given?.ttl ?? null,
    retry_max: policy?.maxAttempts ?? null,
    retry_initial_ms: policy?.initialMs ?? null,
    retry_factor: policy?.factor ?? null,
    retry_cap_ms: policy?.capMs ?? null,
    reclaims_max: policy?.maxReclaims ?? null,
    count_lost: policy?.countLost ?? null,
  });
}

/** Null leaves the quota as it is. */
function quotaPatch(asked: Asked): QuotaPatch | null {
  if (!takesAnything(asked)) return null;
  const { settings: given } = asked;
  const patch = masked<QuotaPatch>(asked, QUOTA_COLUMNS, {
    max_running: given?.concurrencyLimit ?? null,
    max_starts: given?.rateLimit?.limit ?? null,
    window_ms: given?.rateLimit?.window ?? null,
  });
  return Object.keys(patch).length === 0 ? null : patch;
}

/** The whole list, which replaces the one before; null leaves that as it is. */
function keysAsked(asked: Asked): readonly KeyLimit[] | null {
  const { settings: given, updateMask } = asked;
  const paths = updateMask?.paths ?? [];
  if (!takesAnything(asked) || (paths.length > 0 && !paths.includes(KEYS))) return null;
  return (given?.keyLimits ?? []).map((each) => ({ key: each.key, max_running: each.limit, weight: each.weight }));
}

function takesAnything({ settings: given, updateMask }: Asked): boolean {
  return given !== undefined || (updateMask?.paths ?? []).length > 0;
}

/** Without a mask all of them. */
function masked<T extends object>(
  { updateMask }: Asked,
  columns: Readonly<Record<string, readonly (keyof T)[]>>,
  all: T,
): Partial<T> {
  const paths = updateMask?.paths ?? [];
  if (paths.length === 0) return all;
  const taken = new Set<keyof T>(paths.flatMap((path) => columns[path] ?? []));
  return Object.fromEntries(Object.entries(all).filter(([column]) => taken.has(column as keyof T))) as Partial<T>;
}

function statePatch({ state: wanted, reason }: Asked): LanePatch {
  if (wanted === 0) return {};
  return { state: wanted, state_reason: wanted === LaneState.DRAINING ? reason : '' };
}
