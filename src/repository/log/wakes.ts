/**
 * Wake-ups between processes: a NOTIFY without payload, so that another process looks before its next pulse.
 *
 * They are hints. Losing every one of them costs up to one pulse of latency and nothing else, so the commit behind a
 * NOTIFY need not be flushed, and a pooler that forgets LISTEN does no harm.
 */
import pg from 'pg';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const notify = statement(
  'log.notify',
  `select pg_backend_pid() as pid, set_config('synchronous_commit', 'off', true), pg_notify($1::text, '')`,
);

/** Answers the backend that sent it, by which a listener in the same process knows its own echo. */
export async function sendWake(runner: Runner, channel: string): Promise<number> {
  const [row] = await runner.query<{ pid: number }>(notify, [channel]);
  return row?.pid ?? 0;
}

/**
 * Listens to these channels on a connection of its own until the signal aborts (then it returns) or the connection is lost (then it
 * throws). `onWake` gets the sending backend and the channel.
 */
export async function listenForWakes(
  url: string,
  channels: readonly string[],
  onWake: (backend: number, channel: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'tailrace wakes', keepAlive: true });
  let stop: () => void = () => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      stop = resolve;
      signal.addEventListener('abort', stop, { once: true });
      client.on('error', reject);
      client.on('end', () => reject(new Error('the connection for wake-ups was closed')));
      client.on('notification', (message) => onWake(message.processId, message.channel));
      client
        .connect()
        .then(() => client.query(channels.map((channel) => `listen ${pg.escapeIdentifier(channel)}`).join('; ')))
        .catch(reject);
      if (signal.aborted) resolve();
    });
  } finally {
    signal.removeEventListener('abort', stop);
    client.removeAllListeners('end');
    await client.end().catch(() => undefined);
  }
}
