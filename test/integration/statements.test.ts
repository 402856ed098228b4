/**
 * Every statement of the repository, prepared against a migrated database: it must parse, and take and give the types
 * that were written down. What functions contain is not looked into here; tests that execute them do that.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { render, statements } from '../../src/repository/statement.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { codeOf, sourceFiles } from '../support/source.js';

let fresh: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  for (const { path } of sourceFiles('src/repository')) await import(/* @vite-ignore */ `../../${path}`);
  fresh = await freshDatabase();
  client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await fresh.drop();
});

/** But for those that tests make for themselves: files of tests share their modules. */
const own = () => statements().filter(({ name }) => !name.startsWith('test.'));

/** `name(types it takes) → types it gives`; Postgres tells the latter from version 16 on. */
async function prepared(): Promise<string[]> {
  const { rows } = await client.query<{ said: string }>(
    `select name || '(' || array_to_string(parameter_types::text[], ', ') || ')'
       || coalesce(' → ' || (select string_agg(x, ', ') from jsonb_array_elements_text(
         nullif(to_jsonb(p) -> 'result_types', 'null')) x), '') as said
     from pg_prepared_statements p where from_sql order by name collate "C"`,
  );
  return rows.map(({ said }) => said);
}

test('every statement is a named constant that Postgres understands', async () => {
  const found = sourceFiles('src/repository').flatMap((file) =>
    [...codeOf(file).matchAll(/\bstatement\(\s*[`'"]([^`'"]+)/g)].map(([, name = '']) => name),
  );
  expect(own().map(({ name }) => name)).toEqual(expect.arrayContaining(found.filter((name) => !name.includes('${'))));
  expect(own().length).toBeGreaterThanOrEqual(found.length);
  const wrong: string[] = [];
  for (const made of own()) {
    await client.query(`prepare "${made.name}" as ${render(made, fresh.schema)}`).catch((error: Error) => {
      wrong.push(`${made.name}: ${error.message}`);
    });
  }
  expect(wrong).toEqual([]);
});

const GOLDEN = 'test/integration/statements.golden';
const RENEW = 'if this is meant: npx vitest run --project integration test/integration/statements -u';

test('parameters and results have the types that were written down', async () => {
  const made = await prepared();
  const { rows } = await client.query<{ number: string }>("select current_setting('server_version_num') as number");
  if (Number(rows[0]?.number) >= 160_000) {
    await expect(`${made.join('\n')}\n`, RENEW).toMatchFileSnapshot('statements.golden');
  } else {
    const recorded = readFileSync(GOLDEN, 'utf8').trimEnd().split('\n');
    expect(made, RENEW).toEqual(recorded.map((line) => line.replace(/ → .*/, '')));
  }
});
