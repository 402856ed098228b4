/**
 * Why this process cannot start, said to the operator: what is wrong, where, and what to do about it.
 *
 * Thrown before anything is served. main prints the message alone, without a stack, and exits with 1.
 */
export class StartError extends Error {
  override readonly name = 'StartError';
}
