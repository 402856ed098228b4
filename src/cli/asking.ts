/** Questions to the person at the terminal. Where nobody can answer, a command needs --yes. */
import { createInterface } from 'node:readline';
import { flag } from './rules.js';
import type { Session } from './session.js';
import { UsageError } from './usage-error.js';

export const YES = { yes: flag('Do not ask.', { short: '-y' }) };

/** Anything but yes is no. */
export async function confirmed(session: Session, yes: boolean, question: string): Promise<boolean> {
  if (yes) return true;
  if (!session.output.asks) throw new UsageError('nobody can be asked here: say --yes');
  const answer = await asked(session, `${question} [y/N] `);
  if (/^y(es)?$/i.test(answer)) return true;
  session.output.note('nothing was done');
  return false;
}

/** One line without its end; empty if the command was interrupted. */
export async function asked({ io, signal }: Session, question: string): Promise<string> {
  const lines = createInterface({ input: io.stdin, output: io.stderr, terminal: false });
  try {
    io.stderr.write(question);
    return await new Promise<string>((resolve) => {
      const none = () => resolve('');
      lines.once('line', (answer) => resolve(answer.trim()));
      lines.once('close', none);
      if (signal.aborted) none();
      else signal.addEventListener('abort', none, { once: true });
    });
  } finally {
    lines.close();
  }
}
