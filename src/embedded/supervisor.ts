/** Keeps one Postgres running until told otherwise: what ended unasked is started again, for as long as it takes. */
import { pause } from '../runtime/clock.js';
import type { Postmaster } from './postmaster.js';

const RESTART_MS = 1_000;

export interface Supervision {
  readonly start: () => Promise<Postmaster>;
  /** Told when Postgres ended unasked, when it runs again, and why a start failed. */
  readonly onNotice?: ((message: string) => void) | undefined;
}

/** Resolves when Postgres is ready for the first time, and rejects when that start fails. Answers what ends it. */
export async function keepRunning(supervision: Supervision): Promise<() => Promise<void>> {
  const stopping = new AbortController();
  let present = await supervision.start();
  const watching = watch();

  async function watch(): Promise<void> {
    for (;;) {
      await present.ended;
      if (stopping.signal.aborted) return;
      supervision.onNotice?.('the embedded Postgres ended unexpectedly; it is started again');
      await pause(RESTART_MS, stopping.signal);
      if (stopping.signal.aborted) return;
      try {
        present = await supervision.start();
        supervision.onNotice?.('the embedded Postgres runs again');
      } catch (error) {
        supervision.onNotice?.((error as Error).message);
      }
    }
  }

  return async () => {
    stopping.abort();
    await present.stop();
    // A start that was under way gets to its end first, and is stopped then.
    await watching;
    await present.stop();
  };
}
