/**
 * A read model of flows: one table of one's own, beside the engine's in the same database, kept by a consumer of the log.
 *
 * What it writes and where it stands in the log are committed together, so every entry counts once, whatever crashes. It is
 * rebuilt from scratch beside the one that is read from: each generation has a table, and a view shows that of the live one.
 *
 *   DATABASE_URL=postgres://… TAILRACE_URL=http://… npx tsx examples/flow-projection.ts
 *
 * In earnest the role of DATABASE_URL is none of the engine's; `select tailrace.grant_sql_client('role')` lets it in.
 */
import pg from 'pg';
import { Client, flow, LogEntryKind } from '../src/client/index.js';
import { inTransaction, type LogEntry, PermanentError, Worker } from '../src/worker/index.js';

const url = process.env['TAILRACE_URL'] ?? 'http://127.0.0.1:8233';
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] ?? 'postgres://127.0.0.1/tailrace' });
const client = new Client({ url });
const lane = 'projected';

const { EXECUTION_CREATED, EXECUTION_SUCCEEDED, EXECUTION_FAILED, FLOW_SETTLED } = LogEntryKind;
const consumer = await client.consumers.put({
  name: 'flow-overview',
  filter: { kinds: [EXECUTION_CREATED, EXECUTION_SUCCEEDED, EXECUTION_FAILED, FLOW_SETTLED] },
  splitBy: 'flow', // the entries of one flow come in order, to one member
  parts: 4,
});

const tableOf = (generation: bigint) => `flow_overview_${generation}`;

/** What one entry changes, as columns of its flow's row. */
function changeOf({ flowId, kind }: LogEntry): [flow: string, members: number, succeeded: number, failed: number] {
  const count = (one: LogEntryKind) => (kind === one ? 1 : 0);
  return [flowId, count(EXECUTION_CREATED), count(EXECUTION_SUCCEEDED), count(EXECUTION_FAILED)];
}

/** All entries at hand in one statement. `client` is in a transaction, which ends with the move of the cursor. */
const project = inTransaction(pool, async (db, entries, { generation }) => {
  const changes = entries.filter(({ flowId }) => flowId !== '').map(changeOf);
  const columns = [0, 1, 2, 3].map((column) => changes.map((change) => change[column as 0 | 1 | 2 | 3]));
  await db.query(
    `insert into ${tableOf(generation)} as known
     select flow, sum(members), sum(succeeded), sum(failed) from unnest($1::uuid[], $2::int[], $3::int[], $4::int[])
       as change (flow, members, succeeded, failed) group by flow order by flow
     on conflict (flow) do update set members = known.members + excluded.members,
       succeeded = known.succeeded + excluded.succeeded, failed = known.failed + excluded.failed`,
    columns,
  );
});

/** Makes the table of a generation; once it is live it is what the view shows, and older ones go. By every member, at any time. */
async function prepare({ generation, live }: { generation: bigint; live: boolean }): Promise<void> {
  const db = await pool.connect();
  try {
    await db.query('begin');
    await db.query(`select pg_advisory_xact_lock(hashtext('flow_overview'))`);
    await db.query(`create table if not exists ${tableOf(generation)}
      (flow uuid primary key, members int not null, succeeded int not null, failed int not null)`);
    if (live) {
      await db.query('drop view if exists flow_overview');
      await db.query(`create view flow_overview as select * from ${tableOf(generation)}`);
      for (let old = 1n; old < generation; old++) await db.query(`drop table if exists ${tableOf(old)}`);
    }
    await db.query('commit');
  } catch (error) {
    await db.query('rollback');
    throw error;
  } finally {
    db.release();
  }
}

const worker = new Worker({ url, lanes: [lane], drainMs: 2_000 });
worker.handle('spell', ({ input }) => {
  if (!/^\w+$/.test(input.json() ?? '')) throw new PermanentError('no word');
});
worker.consumer('flow-overview', project, { rebuilds: true, onGeneration: prepare });
await worker.start();

/** Runs a flow, and reads it from the model as soon as the model has seen it end. */
async function runAndRead(name: string, words: readonly string[]): Promise<void> {
  const { flowId } = await client.createFlow(flow({ name, open: true }));
  await client.createMany(
    words.map((word) => ({ type: 'spell', lane, flowId, input: word, retry: { maxAttempts: 1 } })),
  );
  await client.sealFlow(flowId);
  const { flow: ended } = await client.awaitFlow(flowId);
  await client.awaitConsumer('flow-overview', ended?.lastCursor ?? '');
  const { rows } = await pool.query('select members, succeeded, failed from flow_overview where flow = $1', [flowId]);
  console.log(`${name}:`, rows[0]);
}

const shown = async () => (await pool.query('select * from flow_overview order by flow')).rows;

await runAndRead('a title', ['the', 'tailrace']);
await runAndRead('a verse', ['a', 'wheel', '…', 'turns']);
const before = await shown();

// Nothing was wrong with it; in earnest the tables of the next generation have other columns.
const { generation } = await client.consumers.rebuild('flow-overview', { promoteWhenCaughtUp: true });
for (;;) {
  const { generations } = await client.consumers.get('flow-overview');
  if (generations.some((one) => one.live && one.generation === generation)) break;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await runAndRead('an end', ['amen']);
const after = new Map((await shown()).map((row) => [row.flow, JSON.stringify(row)]));
const same = before.every((row) => after.get(row.flow) === JSON.stringify(row));
console.log(`generation ${generation} of ${consumer.spec?.name}: ${same ? 'all as before' : 'something is missing'}`);

await worker.stop();
client.close();
await pool.end();
