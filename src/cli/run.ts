/** One line of words: understood, done, and answered with an exit code. Nothing here ends the process. */
import { CommanderError } from 'commander';
import type { AccessFlags } from './access.js';
import { CATALOG } from './catalog.js';
import { flagOf } from './command.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { STANDARD_TIMEOUT_MS } from './global-options.js';
import type { Host } from './host.js';
import { Interruption } from './interruption.js';
import type { Io } from './io.js';
import { type Asked, programFor } from './program.js';
import { UsageError } from './usage-error.js';

/** Without words it serves. */
export async function run(words: readonly string[], io: Io, host: Host): Promise<ExitCode> {
  // Before anything is loaded: what interrupts meanwhile is not lost.
  const interruption = new Interruption(io.signals);
  try {
    return await understand(words, io, host, interruption);
  } finally {
    interruption.close();
  }
}

async function understand(words: readonly string[], io: Io, host: Host, interruption: Interruption): Promise<ExitCode> {
  const line = words.length === 0 ? ['serve'] : words;
  const json = line.includes('--json');
  let asked: Asked | undefined;
  let complaint = '';
  const program = await programFor(CATALOG, line, {
    version: host.version,
    out: (text) => io.stdout.write(text),
    error: (text) => {
      complaint += text;
    },
    width: io.stdout.isTTY ? io.stdout.columns : 120,
    onAsked: (found) => {
      asked = found;
    },
  });
  try {
    await program.parseAsync(line, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.ok;
    if (json) tell(io, true, { text: '', json: { reason: 'USAGE', message: complaint.trim(), exitCode: EXIT.usage } });
    else io.stderr.write(complaint);
    return EXIT.usage;
  }
  if (!asked) throw new Error('commander has called no action');
  return await perform(asked, io, host, interruption);
}

async function perform(
  { leaf, given, flags }: Asked,
  io: Io,
  host: Host,
  interruption: Interruption,
): Promise<ExitCode> {
  const { json, absolute, timeout, ...access } = flags as AccessFlags & {
    json?: boolean;
    absolute?: boolean;
    timeout?: number;
  };
  const [superfluous] = leaf.local === 'alone' ? Object.keys(access) : [];
  if (superfluous !== undefined) {
    const message = `${leaf.name} asks no server, so ${flagOf(superfluous)} says nothing to it`;
    return await failure(new UsageError(message), json === true, io, '');
  }
  const { Session } = await import('./session.js');
  const session = new Session(io, host, CATALOG, interruption, {
    ...access,
    json: json === true,
    absolute: absolute === true,
    timeoutMs: timeout ?? STANDARD_TIMEOUT_MS,
  });
  try {
    if (!leaf.local) await session.open();
    const code = await leaf.run(session, given);
    return session.interruption.code ?? code ?? EXIT.ok;
  } catch (error) {
    if (session.interruption.code !== undefined) return session.interruption.code;
    if (session.output.closed.aborted) return EXIT.ok;
    return await failure(error, session.output.json, io, leaf.local ? '' : session.url);
  } finally {
    session.close();
  }
}

async function failure(error: unknown, json: boolean, io: Io, url: string): Promise<ExitCode> {
  if (error instanceof UsageError) {
    tell(io, json, { text: error.message, json: { reason: 'USAGE', message: error.message, exitCode: EXIT.usage } });
    return EXIT.usage;
  }
  const { isCallError, tellCallError } = await import('./errors.js');
  if (isCallError(error)) {
    const told = tellCallError(error, url);
    tell(io, json, told);
    return told.exitCode;
  }
  const { StartError } = await import('../domain/start-error.js');
  const { EngineError } = await import('../domain/errors.js');
  const expected = error instanceof StartError || error instanceof EngineError;
  const message = expected ? error.message : ((error as Error)?.stack ?? String(error));
  tell(io, json, { text: message, json: { reason: 'FAILED', message, exitCode: EXIT.refused } });
  return EXIT.refused;
}

function tell(io: Io, json: boolean, told: { text: string; json: Readonly<Record<string, unknown>> }): void {
  io.stderr.write(json ? `${JSON.stringify({ error: told.json })}\n` : `tailrace: ${told.text}\n`);
}
