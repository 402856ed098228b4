/** Where in the log a consumer begins, or is moved to. */
import { StartPosition } from '../../../../gen/tailrace/v1/log_pb.js';
import { cursorAt, resolveCursor } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import { type Beginning, EARLIEST } from '../../../repository/consumers/index.js';
import type { AdminServiceDeps } from '../deps.js';

/** UNSPECIFIED is EARLIEST. */
export async function placeOf(
  { source }: AdminServiceDeps,
  namespaceId: number,
  { start, cursor }: { readonly start: number; readonly cursor: string },
): Promise<Beginning> {
  if (cursor !== '') return resolveCursor(cursor, { namespace: namespaceId, ...(await source.head(namespaceId)) });
  return start === StartPosition.LATEST ? null : EARLIEST;
}

/** What comes after the place was dropped meanwhile. */
export async function pruned({ source }: AdminServiceDeps, namespaceId: number): Promise<EngineError> {
  const { incarnation, floor } = await source.head(namespaceId);
  return new EngineError('CURSOR_PRUNED', 'entries after this cursor are gone', {
    metadata: { earliest_cursor: cursorAt({ namespace: namespaceId, incarnation }, floor) },
  });
}
