/** One row of 1 KiB per transaction, as pgbench would insert them: what an engine without group commit is bounded by. */
import { randomUUID } from 'node:crypto';
import { inputOf, NO_ORDINAL } from '../content.js';
import type { Contestant, Running, StartOptions } from './contestant.js';
import { openPool } from './pool.js';

/** More would only queue for the same disk and cores. */
const CONNECTIONS = 16;

async function start({ ground, ended }: StartOptions): Promise<Running> {
  const { pool, end } = openPool(ground.url, CONNECTIONS);
  await pool.query('create table row (id uuid primary key, input text not null, created_at timestamptz not null)');
  const input = inputOf(NO_ORDINAL);
  const insert = async () => {
    const text = 'insert into row values ($1, $2, clock_timestamp())';
    await pool.query({ name: 'insert', text, values: [randomUUID(), input] });
    ended.add(1);
  };
  return {
    createMany: async (count) => {
      await Promise.all(Array.from({ length: count }, insert));
    },
    createOne: insert,
    stop: end,
  };
}

export const rowInserts: Contestant = { name: 'single-row inserts alone', pace: 'middling', start };
