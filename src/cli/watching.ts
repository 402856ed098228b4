/** `--watch`: the same look again and again, until it is interrupted. On a terminal in place, elsewhere below each other. */
import { pause } from '../runtime/clock.js';
import type { Rule } from './command.js';
import type { ExitCode } from './exit-codes.js';
import type { Session } from './session.js';
import { UsageError } from './usage-error.js';

const DEFAULT_SECONDS = 2;
const CLEAR = '\u001b[H\u001b[2J\u001b[3J';

export const WATCH = {
  watch: {
    about: `Look again every so many seconds (default ${DEFAULT_SECONDS}) until Ctrl-C.`,
    value: '[seconds]',
    short: '-w',
    parse(given): number {
      const seconds = given === '' ? DEFAULT_SECONDS : Number(given);
      if (!(seconds >= 0.1 && seconds <= 86_400)) {
        throw new UsageError(`must be seconds, written --watch=5; it is "${given}"`);
      }
      return seconds;
    },
  } satisfies Rule<number | undefined> as Rule<number | undefined>,
};

/** `look` answers what there is to see. Without seconds it looks once. */
export async function watching(
  session: Session,
  seconds: number | undefined,
  look: () => Promise<string>,
): Promise<ExitCode | undefined> {
  const { output, signal } = session;
  if (seconds === undefined) {
    await output.write(await look());
    return undefined;
  }
  for (let first = true; !signal.aborted; first = false) {
    const seen = await look();
    const before = output.live ? CLEAR : first || output.json ? '' : '\n';
    await output.write(before + (output.json ? JSON.stringify(JSON.parse(seen)) : seen));
    await pause(seconds * 1_000, signal);
  }
  return undefined;
}
