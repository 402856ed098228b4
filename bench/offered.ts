/** Load that comes at its own pace, whatever becomes of it: so that waiting shows in latencies and not in the rate. */
import { setTimeout as pause } from 'node:timers/promises';

const TICK_MS = 1;

/** Calls `send` at the given rate, with the time each call was due. Answers after the last one. */
export async function offer(
  perSecond: number,
  seconds: number,
  send: (ordinal: number, dueMs: number) => void,
  giveUp: () => boolean = () => false,
): Promise<void> {
  const startedMs = performance.now();
  const count = Math.floor(perSecond * seconds);
  for (let sent = 0; sent < count && !giveUp(); ) {
    const due = (performance.now() - startedMs) / 1_000;
    for (; sent < count && sent / perSecond <= due; sent++) send(sent, startedMs + (sent / perSecond) * 1_000);
    await pause(TICK_MS);
  }
}
