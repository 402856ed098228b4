/** The schema that the migrations make, held against the one that was looked at and written down. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../src/repository/migrations/index.js';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/postgres.js';
import { dumpSchema } from '../support/schema-dump.js';

const GOLDEN = 'schema.golden';
const RENEW = 'if this is meant: npx vitest run --project integration test/integration/schema -u';

let fresh: TestDatabase;
beforeAll(async () => {
  fresh = await freshDatabase();
});
afterAll(() => fresh.drop());

test('is the recorded one, on every version of Postgres', async ({ task }) => {
  const dump = await dumpSchema(fresh);
  // One level writes the file, or two would write it at once.
  if (task.file.projectName === 'integration') await expect(dump, RENEW).toMatchFileSnapshot(GOLDEN);
  else expect(dump, RENEW).toBe(readFileSync(`test/integration/${GOLDEN}`, 'utf8'));
});

test('is the same under another name, so nothing in it is bound to one', async () => {
  const other = { ...(await emptyDatabase()), schema: 'work_2' };
  await migrate({ url: other.url, schema: other.schema });
  expect(await dumpSchema(other)).toBe(await dumpSchema(fresh));
  await other.drop();
});

test('has no trigger but on dead letters, and no foreign key from what is written all the time', async () => {
  const dump = await dumpSchema(fresh);
  const tables = dump.split(/^(?=table )/m).filter((table) => /^ {2}trigger /m.test(table));
  expect(tables.map((table) => table.split(' ')[1]?.trim())).toEqual(['dead_letter']);
  expect(dump).not.toMatch(/FOREIGN KEY/);
});
