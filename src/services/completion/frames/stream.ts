/** Which stream a reader means, and where in it it begins. */
import { FrameModeSchema } from '../../../../gen/tailrace/v1/frame_pb.js';
import { StartPosition, StartPositionSchema } from '../../../../gen/tailrace/v1/log_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { badFrameCursor, decodeFrameCursor } from '../../../domain/frame-cursor.js';
import { ALL_MODES } from '../../../frames/source.js';
import type { Runner } from '../../../repository/database.js';
import { type FoundStream, findStream, type StreamPlace, type StreamWanted } from '../../../repository/frames/index.js';
import { executionNotFound } from '../../engine/refusals.js';
import { enumNumber, enumNumbers, id, integer, namespace, text } from '../../validation.js';
import { oneStart } from '../requests.js';

const CURSOR_BYTES = 1_000;
const MOST_ATTEMPTS = 2 ** 31 - 1;

export const streamFields = { namespace, executionId: id, attemptNumber: integer(0, MOST_ATTEMPTS) };
export const startFields = {
  modes: enumNumbers(FrameModeSchema),
  start: enumNumber(StartPositionSchema),
  cursor: text(CURSOR_BYTES),
};
export const oneBeginning = oneStart;

interface Named {
  readonly executionId: string;
  readonly attemptNumber: number;
}

interface Begun extends Named {
  readonly modes: readonly number[];
  readonly start: number;
  readonly cursor: string;
}

export interface Stream {
  readonly attempt: number;
  readonly found: FoundStream;
}

/** Throws EXECUTION_NOT_FOUND, ATTEMPT_NOT_FOUND. */
export async function streamOf(
  runner: Runner,
  namespaceId: number,
  { executionId, attemptNumber }: Named,
): Promise<Stream> {
  const found = await findStream(runner, namespaceId, executionId, attemptNumber);
  if (found === undefined) throw executionNotFound(executionId);
  const attempt = attemptNumber === 0 ? found.last : attemptNumber;
  if (attempt >= 1 && attempt <= found.last) return { attempt, found };
  const text = found.last === 0 ? 'has had no attempt yet' : `has had ${found.last} attempts`;
  throw new EngineError('ATTEMPT_NOT_FOUND', `execution ${executionId} ${text}`, {
    metadata: { execution_id: executionId, attempt_number: String(attemptNumber) },
  });
}

/**
 * What to read, and how far the stream is. With a cursor and no attempt, the attempt is the cursor's: a reader that comes
 * back goes on with what it read. Throws BAD_CURSOR too.
 */
export async function wantedOf(
  runner: Runner,
  namespaceId: number,
  { executionId, attemptNumber, modes, start, cursor }: Begun,
): Promise<{ readonly wanted: StreamWanted; readonly found: FoundStream }> {
  const from = cursor === '' ? undefined : decodeFrameCursor(cursor, executionId);
  if (from && attemptNumber !== 0 && from.attempt !== attemptNumber)
    throw badFrameCursor('it belongs to another attempt');
  const named = { executionId, attemptNumber: from?.attempt ?? attemptNumber };
  const { attempt, found } = await streamOf(runner, namespaceId, named);
  if (from && (from.durable > found.durable || from.version > found.version || from.passing > found.passing)) {
    throw badFrameCursor('it lies beyond the end of the stream');
  }
  return {
    found,
    wanted: {
      execution: executionId,
      attempt,
      modes: modes.length === 0 ? ALL_MODES : modes,
      place: { ...BEFORE_ALL, ...(from ?? (start === StartPosition.LATEST ? latest(found) : {})) },
    },
  };
}

/** Nothing is known of the summary: its document comes first. */
const BEFORE_ALL: StreamPlace = { position: -1, durable: 0, version: -1, passing: 0 };

function latest({ durable, passing }: FoundStream): Partial<StreamPlace> {
  return { durable, passing };
}
