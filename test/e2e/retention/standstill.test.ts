/** 33: nobody served for longer than partitions had been made ahead; work of before and of meanwhile is done, without a gap. */
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { wallMs } from '../../../src/runtime/clock.js';
import { text } from '../../support/by-hand.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';
import { broken } from '../../support/retiring.js';
import { startTailrace } from '../../support/tailrace.js';

const HOUR_MS = 3_600_000;
const PARENTS = {
  execution: 'id',
  attempt: 'execution',
  outcome: 'execution',
  frame_head: 'execution',
  frame: 'execution',
  event: 'id',
} as const;
let database: TestDatabase | undefined;
afterAll(async () => await database?.drop());

/** A UUIDv7 of that time. */
function idAt(ms: number, last: string): string {
  const hex = Math.trunc(ms).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${last.padStart(12, '0')}`;
}

test('33: after a standstill of more than three partitions the server makes what is missing and goes on', async () => {
  database = await freshDatabase();
  const environment = { TAILRACE_RETENTION: 'forever', TAILRACE_PARTITION_WIDTH: '1h' };
  const first = await startTailrace({ database, environment });
  const before = idAt(wallMs() - 6 * HOUR_MS, '0');
  await new EventsByHand(first).create({ executionId: before, lane: 'before', input: text('of before') });
  await first.stop();
  await standStill(database);

  const second = await startTailrace({ database, environment });
  try {
    const hand = new EventsByHand(second);
    expect(await broken(second)).toEqual([]);
    const now = wallMs();
    // Ids that clients have made meanwhile, and one of a clock that is ahead.
    const ids = [
      idAt(now - 23 * HOUR_MS, '1'),
      idAt(now - 90 * 60_000, '2'),
      idAt(now - 1_000, '3'),
      idAt(now + 4 * 60_000, '4'),
    ];
    expect(await hand.create(...ids.map((executionId) => ({ executionId, lane: 'meanwhile' })))).toEqual(ids);
    for (const id of [before, ...ids]) await hand.complete(await hand.claimNamed(id));
    await hand.subscribe('reacts', { filter: { eventTypes: ['goes on'] } });
    await hand.publishOne({ type: 'goes on' });
    await hand.complete(await hand.claimOne({ lanes: [{ lane: 'reacts' }] }));
    expect(await broken(second)).toEqual([]);
  } finally {
    await second.stop();
  }
});

/** As if the last server had gone five hours ago, after making partitions for the next one: the present ones are not there. */
async function standStill({ url }: TestDatabase): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const partitions = 'tailrace.execution_partition';
    const { rows } = await client.query<{ from_ms: string; suffix: string }>(
      `select from_ms, suffix from ${partitions} order by from_ms`,
    );
    const [present, ...ahead] = rows;
    if (present === undefined) throw new Error('there are no partitions');
    expect(ahead.length).toBeGreaterThan(3);
    const end = wallMs() - 4 * HOUR_MS;
    for (const [parent, key] of Object.entries(PARENTS)) {
      for (const { suffix } of ahead) await client.query(`drop table tailrace.${parent}_${suffix}`);
      const child = `tailrace.${parent}_${present.suffix}`;
      const { rows: bounds } = await client.query<{ from: string; to: string }>(
        `select tailrace.uuid_at($1) as from, tailrace.uuid_at($2) as to`,
        [present.from_ms, end],
      );
      const [{ from, to } = { from: '', to: '' }] = bounds;
      await client.query(`alter table tailrace.${parent} detach partition ${child}`);
      await client.query(`alter table ${child} add check (${key} < '${to}')`);
      await client.query(
        `alter table tailrace.${parent} attach partition ${child} for values from ('${from}') to ('${to}')`,
      );
    }
    await client.query(`delete from ${partitions} where from_ms > $1`, [present.from_ms]);
    await client.query(`update ${partitions} set to_ms = $1`, [end]);
  } finally {
    await client.end();
  }
}
