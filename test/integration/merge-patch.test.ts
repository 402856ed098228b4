/** Summaries are folded in SQL: held against RFC 7396 as it is written down, and against its own examples. */
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { wrongMergePatch } from '../../src/domain/merge-patch.js';
import { folded, type Json } from '../support/history/merge-patch.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await freshDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.drop();
});

const PLENTY = 1_000_000;

async function fold(document: Json | null, patches: readonly Json[], bytes = PLENTY): Promise<Json | undefined> {
  const text = 'select tailrace.fold_summary($1::jsonb, $2::jsonb[], $3) as document';
  const values = [
    document === null ? null : JSON.stringify(document),
    patches.map((patch) => JSON.stringify(patch)),
    bytes,
  ];
  const { rows } = await client.query<{ document: Json | null }>(text, values);
  return rows[0]?.document ?? undefined;
}

async function merge(target: Json, patch: Json): Promise<Json | undefined> {
  const text = 'select tailrace.jsonb_merge_patch($1::jsonb, $2::jsonb) as document';
  const { rows } = await client.query<{ document: Json }>(text, [JSON.stringify(target), JSON.stringify(patch)]);
  return rows[0]?.document;
}

/** Appendix A. */
test.each([
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['["a","b"]', '["c","d"]', '["c","d"]'],
  ['{"a":"b"}', '["c"]', '["c"]'],
  ['{"a":"foo"}', 'null', 'null'],
  ['{"a":"foo"}', '"bar"', '"bar"'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
  ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
])('%s patched with %s is %s', async (target, patch, result) => {
  expect(await merge(JSON.parse(target), JSON.parse(patch))).toEqual(JSON.parse(result));
});

/** Few names, so that patches meet. */
const name = fc.constantFrom('a', 'b', 'c', '', 'long name', '__proto__', 'ü', '"');
const { value } = fc.letrec<{ value: Json; object: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Json>(null, null, true, false, 0, -1.5, 1e21, '', 'x', 'line\n', '\u{1f600}'),
    fc.array(tie('value'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.array(fc.tuple(name, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
}));
const patch = fc.array(fc.tuple(name, value), { maxLength: 5 }).map((entries) => Object.fromEntries(entries) as Json);

test('any patches fold as the rules say', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(patch, { minLength: 1, maxLength: 6 }), async (patches) => {
      for (const one of patches) expect(wrongMergePatch(JSON.stringify(one))).toBeUndefined();
      const due = patches.reduce((document, one) => folded(document, one), {} as Json);
      const [begun, ...rest] = patches;
      expect(await fold(null, patches)).toEqual(due);
      expect(await fold((await fold(null, [begun ?? {}])) ?? {}, rest.length > 0 ? rest : [{}])).toEqual(due);
    }),
    { numRuns: 500 },
  );
});

test('many names at once are removed as few are', async () => {
  const document = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`name ${i}`, i]));
  const gone = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`name ${i * 2}`, null]));
  const changed = { ...gone, 'name 1': { new: null, kept: 1 } };
  expect(await fold(document, [changed])).toEqual(folded(document, changed));
  expect(await fold({ a: document }, [{ a: changed }])).toEqual(folded({ a: document }, { a: changed }));
});

test('a document may fill its bounds after each patch, and no more', async () => {
  const document = { a: 'x'.repeat(50), b: 1 };
  const bytes = async (json: Json) => {
    const { rows } = await client.query<{ n: number }>('select octet_length($1::jsonb::text) n', [
      JSON.stringify(json),
    ]);
    return rows[0]?.n ?? 0;
  };
  const grown = { ...document, c: 'y'.repeat(100) };
  const exactly = await bytes(grown);
  expect(await fold(document, [{ c: 'y'.repeat(100) }], exactly + 2)).toEqual(grown);
  expect(await fold(document, [{ c: 'y'.repeat(100) }], exactly - 2)).toBeUndefined();
  expect(await fold(document, [{ c: 'y'.repeat(100) }, { c: null }], exactly - 2)).toBeUndefined();
  expect(await fold(document, [{ c: null }, { c: 'y' }], exactly - 2)).toEqual({ ...document, c: 'y' });
});
