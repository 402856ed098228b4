/** What callers are told when Postgres cannot be reached, does not answer, or takes back what it did. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Database } from '../../src/repository/database.js';
import { statement } from '../../src/repository/statement.js';
import { pause } from '../../src/runtime/clock.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const ready = statement('test.ready', 'select 1 as one');
const slow = statement('test.slow', 'select pg_sleep(20)');
const raise = statement('test.raise', `do $$ begin raise exception using errcode = '40P01'; end $$`);
const lost = { reason: 'DATABASE_UNAVAILABLE', retryDelayMs: 1_000 };

let fresh: TestDatabase;
let proxy: FaultProxy;
let url: string;
beforeAll(async () => {
  fresh = await freshDatabase();
  ({ proxy, url } = await FaultProxy.before(fresh.url));
});
beforeEach(() => proxy.pass());
afterAll(async () => {
  await proxy.close();
  await fresh.drop();
});

async function withDatabase<T>(body: (database: Database) => Promise<T>, address = url, answerMs?: number): Promise<T> {
  const options = { url: address, schema: fresh.schema, connections: 2, ...(answerMs && { answerMs }) };
  const database = new Database(options);
  try {
    return await body(database);
  } finally {
    await database.close();
  }
}

const SLOW = `pg_stat_activity
  where datname = current_database() and state = 'active' and query like '%pg_sleep(20)%' and pid <> pg_backend_pid()`;

async function beside<T>(body: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
  return await body(client).finally(() => client.end());
}

/** Resolves when so many of the slow statements are under way. */
async function running(count: number): Promise<void> {
  const sleeping = `select count(*)::int as n from ${SLOW}`;
  await beside(async (client) => {
    while ((await client.query<{ n: number }>(sleeping)).rows[0]?.n !== count) await pause(10);
  });
}

/** They do not notice by themselves that nobody waits for them any more. */
async function endSlow(): Promise<void> {
  await beside((client) => client.query(`select pg_terminate_backend(pid) from ${SLOW}`));
}

describe('a database that is down', () => {
  test('is told at once, by every way in, and found again by itself', async () => {
    await withDatabase(async (database) => {
      await database.query(ready);
      proxy.refuse();
      await expect(database.query(ready)).rejects.toMatchObject(lost);
      await expect(database.transaction((runner) => runner.query(ready))).rejects.toMatchObject(lost);
      await expect(database.session()).rejects.toMatchObject(lost);
      proxy.pass();
      expect(await database.query(ready)).toEqual([{ one: 1 }]);
      expect(await database.transaction((runner) => runner.query(ready))).toEqual([{ one: 1 }]);
    });
  });

  test('while a statement is under way: the caller is told, and nothing is sent twice', async () => {
    await withDatabase(async (database) => {
      const under = database.query(slow).catch((error: unknown) => error);
      const inside = database.transaction((runner) => runner.query(slow)).catch((error: unknown) => error);
      await running(2);
      proxy.cut();
      expect(await under).toMatchObject(lost);
      expect(await inside).toMatchObject(lost);
      expect(database.sent).toBeLessThanOrEqual(2);
      expect(await database.query(ready)).toEqual([{ one: 1 }]);
    }).finally(endSlow);
  });
});

describe('a database that goes silent', () => {
  test('is given up after a bound, and its connections are not used again', async () => {
    await withDatabase(
      async (database) => {
        await database.query(ready);
        proxy.silence();
        const asked = [database.query(ready), database.transaction((runner) => runner.query(ready))];
        for (const answer of await Promise.allSettled(asked)) expect(answer).toMatchObject({ reason: lost });
        proxy.pass();
        expect(await database.query(ready)).toEqual([{ one: 1 }]);
        expect(await database.transaction((runner) => runner.query(ready))).toEqual([{ one: 1 }]);
      },
      url,
      4_000,
    );
  });
});

describe('what Postgres took back', () => {
  test('by a deadlock is sent again, a bounded number of times', async () => {
    await withDatabase(async (database) => {
      await expect(database.query(raise)).rejects.toMatchObject({ reason: 'CONTENTION', retryDelayMs: 50 });
      expect(database.sent).toBe(5);
    });
  });

  test('because it took too long is not sent again', async () => {
    const hasty = `${fresh.url}?options=-c%20statement_timeout%3D30`;
    await withDatabase(async (database) => {
      await expect(database.query(slow)).rejects.toMatchObject(lost);
      expect(database.sent).toBe(1);
    }, hasty);
  });

  test('because it is only a standby, after a failover', async () => {
    const standby = `${fresh.url}?options=-c%20default_transaction_read_only%3Don`;
    const write = statement('test.write', `insert into {schema}.namespace (name) values ('standby')`);
    await withDatabase(async (database) => {
      await expect(database.query(write)).rejects.toMatchObject(lost);
    }, standby);
  });
});
