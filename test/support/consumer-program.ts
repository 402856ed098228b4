/**
 * A member of a consumer in a process of its own: `consumer-program.ts <url> <database> <consumer> <percent>`. It writes every
 * event into app.model, in one transaction with the move of the cursor. So many of a hundred times its handler fails, before
 * or after it has written, or keeps an error of the database to itself; and half as often it dies before or after a statement.
 *
 * Sends word to its parent that it has started.
 */
import pg from 'pg';
import { inTransaction, type SqlClient, Worker } from '../../src/worker/index.js';

const [url = '', database = '', consumer = '', percent = '0'] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: database, max: 4 });
const chance = (share: number) => Math.random() * 100 < share * Number(percent);

function mayDie(): void {
  if (chance(0.25)) process.kill(process.pid, 'SIGKILL');
}

/** Between any two statements of a transaction, the library's own among them. */
const mortal = {
  async connect(): Promise<SqlClient> {
    const client = await pool.connect();
    return {
      async query(text, values) {
        mayDie();
        const answer = await client.query(text, values);
        mayDie();
        return answer;
      },
      release: (destroy) => client.release(destroy),
    };
  },
};

const write = inTransaction(mortal, async (client, entries) => {
  for (const { body } of entries) {
    if (body.case !== 'event') continue;
    const { stream, streamVersion, eventId } = body.value;
    if (chance(1)) throw new Error('before it is written');
    const values = [stream, Number(streamVersion), eventId];
    await client.query('insert into app.model (stream, version, event) values ($1, $2, $3)', values);
    if (chance(1)) throw new Error('after it was written');
    if (chance(1)) await client.query('select 1 / 0').catch(() => undefined);
  }
});
const worker = new Worker({ url, log: () => {}, drainMs: 1_000 });
worker.consumer(consumer, write, { leaseDurationMs: 1_000, maxEntries: 20 });
await worker.start();
process.send?.('started');
process.once('SIGTERM', async () => {
  await worker.stop();
  await pool.end();
  process.disconnect?.();
});
