/** GetStats. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetStatsRequest,
  type GetStatsResponse,
  GetStatsResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { cursorAt } from '../../domain/cursor.js';
import { readStats } from '../../repository/inspection/index.js';
import { listLanes } from '../../repository/lanes/index.js';
import { toCounts } from '../conversion/lane.js';
import { toDuration } from '../conversion/times.js';
import { namespaceIn } from '../namespace-in.js';
import { namespace, type Shape, validate } from '../validation.js';
import type { AdminServiceDeps } from './deps.js';

const LANES = 1_000;

const request = z.object({ namespace, includeLanes: z.boolean() } satisfies Shape<GetStatsRequest>);

export function getStatsCall({ database, registry, source }: AdminServiceDeps) {
  return async (message: GetStatsRequest): Promise<GetStatsResponse> => {
    const asked = validate(request, message);
    const id = await namespaceIn(registry, asked.namespace);
    const stats = await readStats(database, id);
    const { incarnation } = await source.head();
    const { lanes } = asked.includeLanes
      ? await listLanes(database, { namespace: id, states: null, after: '', size: LANES, keys: false })
      : { lanes: [] };
    const letters = (state: number) => BigInt(stats.letters[state] ?? 0);
    return create(GetStatsResponseSchema, {
      executions: toCounts(stats.executions),
      createdCount: BigInt(stats.executions[0] ?? 0),
      eventCount: stats.events,
      unroutedEventCount: stats.unrouted,
      flows: toCounts(stats.flows),
      deadLetters: { open: letters(1), redriving: letters(2), closed: letters(3) },
      lanes: lanes.map((row) => ({
        lane: row.name,
        executions: toCounts(row.counts),
        openDeadLetters: BigInt(row.letters),
        ...(row.oldest_ms !== null && { oldestQueuedAge: toDuration(Math.max(0, row.oldest_ms)) }),
      })),
      cursor: cursorAt({ namespace: id, incarnation }, stats.position),
    });
  };
}
