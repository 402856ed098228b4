/** GetDeadLetterStats and ListDeadLetterGroups: what stands at the desk, and of which causes. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import {
  type GetDeadLetterStatsRequest,
  type GetDeadLetterStatsResponse,
  GetDeadLetterStatsResponseSchema,
  type ListDeadLetterGroupsRequest,
  type ListDeadLetterGroupsResponse,
  ListDeadLetterGroupsResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import {
  LOOKED_AT,
  listDeadLetterGroups,
  readDeadLetterStats,
  readDeadLetters,
} from '../../repository/dead-letters/index.js';
import { reasonText, toBuckets } from '../conversion/bucket.js';
import { toTimestamp } from '../conversion/times.js';
import { namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import { namespace, pageSize, pageToken, type Shape, validate } from '../validation.js';
import type { DeadLetterServiceDeps } from './deps.js';
import { letterFilter, toLetterFilter } from './filter.js';

/** Youngest first, told even if there are none. */
const AGES = ['1h', '1d', '7d', '30d', 'older'] as const;

const statsRequest = z.object({ namespace, filter: letterFilter } satisfies Shape<GetDeadLetterStatsRequest>);
const groupsRequest = z.object({
  namespace,
  filter: letterFilter,
  pageSize,
  pageToken,
} satisfies Shape<ListDeadLetterGroupsRequest>);

export function getDeadLetterStatsCall({ database, registry }: DeadLetterServiceDeps) {
  return async (message: GetDeadLetterStatsRequest): Promise<GetDeadLetterStatsResponse> => {
    const asked = validate(statsRequest, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const stats = await readDeadLetterStats(database, namespaceId, toLetterFilter(asked.filter));
    const inState = (state: DeadLetterState) => atMost(stats.states[state] ?? 0);
    const ages = new Map(stats.ages);
    return create(GetDeadLetterStatsResponseSchema, {
      openCount: inState(DeadLetterState.OPEN),
      redrivingCount: inState(DeadLetterState.REDRIVING),
      closedCount: inState(DeadLetterState.CLOSED),
      reasons: toBuckets(stats.reasons, reasonText),
      lanes: toBuckets(stats.lanes),
      types: toBuckets(stats.types),
      resolutions: toBuckets(stats.resolutions, (value) => DeadLetterResolution[value] ?? String(value)),
      ages: toBuckets(AGES.map((age) => [age, ages.get(age) ?? 0])),
      openedLastDayCount: atMost(stats.opened_in_day),
      openedLastHourCount: atMost(stats.opened_in_hour),
      closedLastDayCount: atMost(stats.closed_in_day),
      closedLastHourCount: atMost(stats.closed_in_hour),
      ...(stats.oldest_open_at && { oldestOpenTime: toTimestamp(stats.oldest_open_at) }),
    });
  };
}

/** What is added up of several states may be more. */
function atMost(count: number): bigint {
  return BigInt(Math.min(count, LOOKED_AT));
}

export function listDeadLetterGroupsCall({ database, registry }: DeadLetterServiceDeps) {
  return async (message: ListDeadLetterGroupsRequest): Promise<ListDeadLetterGroupsResponse> => {
    const asked = validate(groupsRequest, message);
    const pages = new Pages('ListDeadLetterGroups', [asked.namespace, asked.filter], ['number', 'text']);
    const [count, fingerprint = ''] = pages.keys(asked.pageToken) ?? [];
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const filter = toLetterFilter(asked.filter);
    const page = await listDeadLetterGroups(database, {
      namespace: namespaceId,
      filter: asked.filter ? filter : { ...filter, states: [DeadLetterState.OPEN] },
      after: count === undefined ? undefined : { count: Number(count), fingerprint },
      size: asked.pageSize,
    });
    const newest = await readDeadLetters(
      database,
      namespaceId,
      page.groups.map((group) => group.newest),
    );
    const samples = new Map(newest.map((row) => [row.id, row]));
    return create(ListDeadLetterGroupsResponseSchema, {
      groups: page.groups.flatMap((group) => {
        const sample = samples.get(group.newest);
        // Purged since it was counted: perhaps the whole group was.
        if (sample === undefined) return [];
        return {
          fingerprint: group.fingerprint,
          type: sample.type,
          reason: sample.reason,
          message: sample.message,
          count: BigInt(group.count),
          countCapped: group.capped,
          firstCreateTime: toTimestamp(group.firstAt),
          lastCreateTime: toTimestamp(group.lastAt),
          sampleDeadLetterId: sample.id,
        };
      }),
      nextPageToken: pages.token(page.next && [page.next.count, page.next.fingerprint]),
    });
  };
}
