/** Refusals for want of a key, which say what an operator can do. */
import { EngineError } from '../../domain/errors.js';
import type { SealTrouble } from './sealing.js';

const WAYS: Readonly<Record<SealTrouble, string>> = {
  other_key:
    'was sealed with another key than this server has: give it the TAILRACE_SECRETS_KEY of the server that made the secret, ' +
    'or make a new one with RotateWaitpointSecret, after which tokens made so far are refused here',
  damaged:
    'is damaged in the database: restore it, or make a new one with RotateWaitpointSecret, after which tokens made so far ' +
    'are refused',
  unknown_version: 'was sealed by a newer server: upgrade this one',
};

export function noKey(): EngineError {
  return new EngineError(
    'SECRETS_UNAVAILABLE',
    'this server has no key to keep the secrets of waitpoints with: set TAILRACE_SECRETS_KEY to 32 random bytes in base64 ' +
      '(openssl rand -base64 32), the same for every server on this database',
  );
}

export function unusable(secret: number, trouble: SealTrouble): EngineError {
  return new EngineError('SECRETS_UNAVAILABLE', whyUnusable(secret, trouble), {
    metadata: { key_id: String(secret), why: trouble },
  });
}

export function whyUnusable(secret: number, trouble: SealTrouble): string {
  return `the waitpoint secret ${secret} ${WAYS[trouble]}`;
}
