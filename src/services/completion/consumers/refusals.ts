/** Why a call on a consumer was refused, as the contract says it. */
import { EngineError } from '../../../domain/errors.js';
import { prunedPosition } from '../../../log/floors.js';
import type { PartRef } from '../../../repository/consumers/index.js';

export function consumerNotFound(consumer: string): EngineError {
  return new EngineError('CONSUMER_NOT_FOUND', `there is no consumer ${consumer}`, { metadata: { consumer } });
}

export function generationNotFound(consumer: string, generation: bigint): EngineError {
  return new EngineError('GENERATION_NOT_FOUND', `consumer ${consumer} has no generation ${generation}`, {
    metadata: { consumer, generation: String(generation) },
  });
}

export function epochConflict({ generation, part, epoch }: PartRef): EngineError {
  return new EngineError(
    'EPOCH_CONFLICT',
    `part ${part} is not held under epoch ${epoch} any more: acquire the consumer again`,
    {
      metadata: { generation: String(generation), part: String(part), epoch: String(epoch) },
    },
  );
}

export function consumerPaused(consumer: string, reason: string | null): EngineError {
  return new EngineError('CONSUMER_PAUSED', `consumer ${consumer} is paused`, {
    metadata: { consumer, state_reason: reason ?? '' },
  });
}

/** Where a part was halted, and up to where entries are gone by now. */
export interface HaltedAt {
  readonly position: bigint;
  readonly floor: bigint;
  readonly reason: string | null;
  readonly cursorAt: (position: bigint) => string;
}

/** At an entry; once that is gone, retention has left it behind, whatever it was halted by. */
export function consumerHalted(consumer: string, { position, floor, reason, cursorAt }: HaltedAt): EngineError {
  if (position <= floor) return consumerPruned(consumer, cursorAt(floor));
  const cursor = cursorAt(position);
  return new EngineError(
    'CONSUMER_HALTED',
    `consumer ${consumer} has halted at an entry; once it can be handled, resume the consumer`,
    {
      metadata: { consumer, position: String(position), cursor, state_reason: reason ?? '' },
    },
  );
}

export function consumerPruned(consumer: string, earliestCursor: string, cause?: unknown): EngineError {
  return new EngineError(
    'CURSOR_PRUNED',
    `what consumer ${consumer} has not read is gone; reset it to go on from there`,
    {
      metadata: { consumer, earliest_cursor: earliestCursor },
      ...(cause !== undefined && { cause }),
    },
  );
}

/** What reading the log for a consumer failed with. */
export function readFailure(error: unknown, consumer: string, cursorAt: (position: bigint) => string): unknown {
  const position = prunedPosition(error);
  return position === undefined ? error : consumerPruned(consumer, cursorAt(position), error);
}

export function consumerHeld(
  consumer: string,
  owner: string | null,
  until: Date | null,
  retryDelayMs: number,
): EngineError {
  return new EngineError('CONSUMER_HELD', `all parts of consumer ${consumer} are held`, {
    metadata: { consumer, owner_id: owner ?? '', expire_time: until?.toISOString() ?? '' },
    retryDelayMs,
  });
}

/** The part stands elsewhere than the caller says. */
export function cursorMoved(cursor: string): EngineError {
  return new EngineError('VERSION_CONFLICT', 'the cursor of the part stands elsewhere', {
    metadata: { current_cursor: cursor },
  });
}

export function badCursor(why: string): EngineError {
  return new EngineError('BAD_CURSOR', `the cursor cannot be used: ${why}`);
}

export function letterElsewhere(id: string): EngineError {
  return new EngineError('DEAD_LETTER_NOT_FOUND', `dead letter ${id} is not delivered again to this part`, {
    metadata: { dead_letter_id: id },
  });
}

export function serverDrains(): EngineError {
  return new EngineError('DRAINING', 'this server is going away; go on at another one', { retryDelayMs: 0 });
}
