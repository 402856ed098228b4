/** For what happens soon, but tells nobody when. */
import { monotonicMs, pause } from '../../src/runtime/clock.js';

/** Asks until it is so, and fails after the bound. */
export async function eventually(isSo: () => Promise<boolean> | boolean, boundMs = 20_000): Promise<void> {
  const until = monotonicMs() + boundMs;
  while (!(await isSo())) {
    if (monotonicMs() > until) throw new Error(`it was not so within ${boundMs} ms`);
    await pause(20);
  }
}
