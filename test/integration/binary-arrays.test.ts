/** Arrays sent in binary arrive as they were, and instants come back as they are. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  byteaArray,
  float8Array,
  int4Array,
  int8Array,
  textArray,
  uuidArray,
} from '../../src/repository/binary-arrays.js';
import { Database } from '../../src/repository/database.js';
import { statement } from '../../src/repository/statement.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const echo = statement(
  'test.echo-arrays',
  `select $1::uuid[] as uuids, $2::int8[] as int8s, $3::int4[] as int4s, $4::float8[] as floats, $5::bytea[] as bytes,
     $6::text[] as texts`,
);
const instants = statement(
  'test.instants',
  'select t::timestamptz as t from unnest($1::text[]) with ordinality u (t, i) order by i',
);

let place: TestDatabase;
let database: Database;
beforeAll(async () => {
  place = await freshDatabase();
  database = new Database({ url: place.url, schema: place.schema, connections: 2 });
});
afterAll(async () => {
  await database.close();
  await place.drop();
});

test('values and nulls of every kind', async () => {
  const id = '0192b3a4-0000-7000-8000-0000000000ff';
  const [row] = await database.query(echo, [
    uuidArray([id, null]),
    int8Array([9_007_199_254_740_993n, -1, null]),
    int4Array([-2_147_483_648, 0, null]),
    float8Array([0.1, -1e300, null]),
    byteaArray([Buffer.from([0, 255]), Buffer.alloc(0), null]),
    textArray(['', 'a "quoted", {braced} \\ text', 'ünï€', null]),
  ]);
  expect(row).toEqual({
    uuids: [id, null],
    int8s: ['9007199254740993', '-1', null],
    int4s: [-2_147_483_648, 0, null],
    floats: [0.1, -1e300, null],
    bytes: [Buffer.from([0, 255]), Buffer.alloc(0), null],
    texts: ['', 'a "quoted", {braced} \\ text', 'ünï€', null],
  });
});

test('empty arrays', async () => {
  const [row] = await database.query(echo, [
    uuidArray([]),
    int8Array([]),
    int4Array([]),
    float8Array([]),
    byteaArray([]),
    textArray([]),
  ]);
  expect(row).toEqual({ uuids: [], int8s: [], int4s: [], floats: [], bytes: [], texts: [] });
});

test('instants, with and without fractions, far away', async () => {
  const texts = [
    '2026-11-21T10:07:45.123456Z',
    '2026-11-21T10:07:45Z',
    '2026-11-21T10:07:45.1Z',
    '1970-01-01T00:00:00Z',
    '2099-12-31T23:59:59.999Z',
  ];
  const rows = await database.query<{ t: Date }>(instants, [texts]);
  expect(rows.map(({ t }) => t.getTime())).toEqual(texts.map((text) => Date.parse(text)));
});
