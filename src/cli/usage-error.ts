/** The command was asked wrongly: said in one message, without a stack, with the exit code for usage. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
