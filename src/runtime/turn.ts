/** Lets what else is due in this process go first: long work that never waits for anything would hold everybody up. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
