/** What a worker and its handlers say, handed to one function of the owner's. */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Facts beside the message. Lines of one execution carry executionId, type, lane and attemptNumber, and trace_id and span_id
 * where there is a trace.
 */
export type LogFields = Readonly<Record<string, unknown>>;

export type WorkerLog = (level: LogLevel, message: string, fields: LogFields) => void;

/** The default: warnings and errors, one line each, to the standard error output. */
export const logProblems: WorkerLog = (level, message, { error, ...fields }) => {
  if (level !== 'warn' && level !== 'error') return;
  const cause = error === undefined ? '' : `: ${error instanceof Error ? error.message : String(error)}`;
  const facts = Object.entries(fields).map(([name, value]) => ` ${name}=${String(value)}`);
  console.error(`tailrace worker: ${message}${cause}${facts.join('')}`);
};
