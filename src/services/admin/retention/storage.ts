/** GetStorage. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetStorageRequest,
  type GetStorageResponse,
  GetStorageResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { logHolds, oldestLogEntry, readFrontiers, storedTables } from '../../../repository/retention/index.js';
import { toTimestamp } from '../../conversion/times.js';
import { namespaceOrAll, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { toHolds } from './holds.js';

const request = z.object({ namespace: namespaceOrAll } satisfies Shape<GetStorageRequest>);

export function getStorageCall({ database }: Pick<AdminServiceDeps, 'database'>) {
  return async (message: GetStorageRequest): Promise<GetStorageResponse> => {
    validate(request, message);
    const [tables, frontiers, log, ofLog] = await Promise.all([
      storedTables(database),
      readFrontiers(database),
      oldestLogEntry(database),
      logHolds(database),
    ]);
    return create(GetStorageResponseSchema, {
      tables: tables.map(({ name, partitions, rows, bytes, indexBytes }) => ({
        table: name,
        partitionCount: partitions,
        estimatedRowCount: BigInt(rows),
        byteCount: BigInt(bytes),
        indexByteCount: BigInt(indexBytes),
      })),
      byteCount: BigInt(tables.reduce((sum, { bytes }) => sum + bytes, 0)),
      executionsFloorTime: toTimestamp(frontiers.executions),
      eventsFloorTime: toTimestamp(frontiers.events),
      logFloorTime: toTimestamp(log),
      holds: toHolds([...frontiers.holds, ...ofLog]),
    });
  };
}
