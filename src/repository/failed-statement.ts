/** Which statement an error came from, for logs: errors of the driver do not say it, and their other fields hold parameters. */

const names = new WeakMap<Error, string>();

export function noteStatement(error: unknown, name: string): void {
  if (error instanceof Error) names.set(error, name);
}

/** Also of what was made of such an error. */
export function statementOf(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const name = names.get(at);
    if (name !== undefined) return name;
  }
  return undefined;
}
