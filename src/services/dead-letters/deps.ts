/** What the dead-letter calls need of their process. */
import type { AfterCommit } from '../../dispatch/after-commit.js';
import type { ConsumerWakes } from '../../dispatch/consumer-wakes.js';
import type { Registry } from '../../dispatch/registry.js';
import { EngineError } from '../../domain/errors.js';
import type { Database } from '../../repository/database.js';

export interface DeadLetterServiceDeps {
  readonly database: Database;
  readonly registry: Registry;
  readonly after: AfterCommit;
  readonly consumerWakes: ConsumerWakes;
  /** To be woken when a bulk redrive was started. */
  readonly redrives: { wake(): void };
  /** Largest input. */
  readonly maxPayloadBytes: number;
}

export const ACTOR_BYTES = 200;
export const NOTE_BYTES = 4 * 1_024;

export function letterNotFound(id: string): EngineError {
  return new EngineError('DEAD_LETTER_NOT_FOUND', `there is no dead letter ${id}`, {
    metadata: { dead_letter_id: id },
  });
}

const STATES = ['', 'OPEN', 'REDRIVING', 'CLOSED'] as const;

export function letterInWrongState(id: string, state: number): EngineError {
  const name = STATES[state] ?? '';
  return new EngineError('WRONG_STATE', `dead letter ${id} is ${name}`, {
    metadata: { dead_letter_id: id, state: name },
  });
}

export function letterChanged(id: string, version: bigint): EngineError {
  return new EngineError('VERSION_CONFLICT', `dead letter ${id} has version ${version}`, {
    metadata: { dead_letter_id: id, current_version: String(version) },
  });
}

/** `metadata`: what it was used for, as far as that is known. */
export function requestIdReused(metadata: Readonly<Record<string, string>> = {}): EngineError {
  return new EngineError('REQUEST_ID_REUSED', 'this request id was used before, for something else', { metadata });
}
