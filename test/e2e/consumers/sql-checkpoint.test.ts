/**
 * The checkpoint of a consumer in its own SQL transaction: what it makes of entries is there once for each of them, wherever
 * its process dies, whoever takes its part over, and whatever the answer to a commit is worth.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FetchEntriesResponse } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { PoisonPolicy } from '../../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { seconds } from '../../support/by-hand.js';
import { ConsumersByHand, entriesOf, type Owner, payloadsOf } from '../../support/consumers-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { type Query, SqlClients, type SqlTransaction, sqlRefusal } from '../../support/sql-clients.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let sql: SqlClients;
let hand: ConsumersByHand;
beforeAll(async () => {
  tailrace = await startTailrace();
  sql = await SqlClients.start(tailrace.database);
  hand = new ConsumersByHand(tailrace);
  await sql.transaction((query) => query('create table app.model (consumer text, entry text)'));
});
afterAll(async () => {
  await sql.stop();
  await tailrace.stop();
});

/** Each with its own payload, of a type of its own for each consumer. */
async function published(type: string, count: number): Promise<string[]> {
  const payloads = Array.from({ length: count }, (_, i) => `${type} ${i}`);
  await hand.publish(...payloads.map((value) => ({ type, payload: { body: { case: 'text' as const, value } } })));
  return payloads;
}

async function follower(name: string, more: Parameters<ConsumersByHand['consumer']>[1] = {}): Promise<Owner> {
  await hand.consumer(name, { filter: { eventTypes: [name] }, ...more });
  return await hand.owner(name);
}

async function fetched(owner: Owner, maxEntries = 3): Promise<FetchEntriesResponse> {
  return await owner.fetch({ maxEntries, wait: seconds(5) });
}

/** The read model, written without any protection of its own. */
async function write(query: Query, owner: Owner, answer: FetchEntriesResponse): Promise<void> {
  for (const entry of payloadsOf(entriesOf(answer))) {
    await query('insert into app.model values ($1, $2)', [owner.member.consumer, entry]);
  }
}

async function checkpoint(
  query: Query,
  owner: Owner,
  answer: Pick<FetchEntriesResponse, 'fromCursor' | 'toCursor'>,
  letters: string[] = [],
) {
  const { consumer, ownerId, part } = owner.held;
  const held = ['default', consumer, ownerId, String(part.generation), part.part, String(part.epoch)];
  const call = 'select tailrace.commit_entries($1, $2, $3, $4, $5, $6, $7, $8, $9)';
  await query(call, [...held, answer.fromCursor, answer.toCursor, letters]);
}

async function model(consumer: string): Promise<string[]> {
  const rows = await sql.transaction((query) =>
    query<{ entry: string }>('select entry from app.model where consumer = $1', [consumer]),
  );
  return rows.map(({ entry }) => entry);
}

describe('a read model', () => {
  it('has every entry once, wherever its writer dies', async () => {
    let owner = await follower('model');
    const all = await published('model', 30);
    const deaths = ['nothing', 'written', 'checkpoint', 'answer lost', 'none'] as const;
    for (let turn = 0; (await model('model')).length < all.length; turn++) {
      const dies = deaths[turn % deaths.length];
      const answer = await fetched(owner);
      const transaction = await sql.begin();
      if (dies !== 'nothing') await write(transaction.query, owner, answer);
      if (dies !== 'nothing' && dies !== 'written') await checkpoint(transaction.query, owner, answer);
      if (dies === 'none' || dies === 'answer lost') await transaction.commit();
      else await sql.kill(transaction);
      if (dies === 'answer lost') {
        // It does what it did once more, for all it knows.
        const again = sql.transaction(async (query) => {
          await write(query, owner, answer);
          await checkpoint(query, owner, answer);
        });
        const refused = await sqlRefusal(again);
        expect(refused).toMatchObject({ code: 'TR028', reason: 'VERSION_CONFLICT', metadata: { duplicate: 'true' } });
        expect(refused.metadata['current_cursor']).toBe(answer.toCursor);
      } else if (dies !== 'none') {
        // A process of its own goes on, under another epoch.
        await owner.member.release();
        owner = await hand.owner('model');
      }
    }
    expect(await model('model')).toEqual(all);
    expect(await owner.drain()).toEqual([]);
  });

  it('keeps nothing of one who has lost the part; one that is about to commit does not lose it', async () => {
    const late = await follower('taken');
    const all = await published('taken', 3);
    const answer = await fetched(late);
    const stale = await sql.begin();
    await write(stale.query, late, answer);
    await late.member.release();
    const owner = await hand.owner('taken');
    expect(await sqlRefusal(checkpoint(stale.query, late, answer))).toMatchObject({ reason: 'EPOCH_CONFLICT' });
    await stale.rollback();

    const own = await fetched(owner);
    const open = await sql.begin();
    await write(open.query, owner, own);
    await checkpoint(open.query, owner, own);
    const other = hand.member('taken');
    const released = owner.member.release();
    await open.commit();
    await released;
    const [next] = await other.acquire({ wait: seconds(5) });
    expect(await next?.drain()).toEqual([]);
    expect(await model('taken')).toEqual(all);
  });

  it('is waited for by its readers', async () => {
    const owner = await follower('awaited');
    const { cursor } = await hand.publishOne({ type: 'awaited' });
    const waiting = tailrace.completion.awaitConsumer({ consumer: 'awaited', cursor, timeout: seconds(20) });
    const answer = await fetched(owner);
    await sql.transaction((query) => checkpoint(query, owner, answer));
    expect(await waiting).toMatchObject({ done: true });
  });

  it('proof 13: takes an entry that is delivered again once, and nothing else with it', async () => {
    const owner = await follower('parked', { maxTries: 1, poisonPolicy: PoisonPolicy.PARK });
    await published('parked', 1);
    const [delivery] = (await fetched(owner)).deliveries;
    if (delivery === undefined) throw new Error('nothing was delivered');
    const { deadLetterId } = await owner.fail(delivery);
    await tailrace.deadLetters.redriveDeadLetter({ deadLetterId });
    const again = await fetched(owner);
    expect(again.deliveries).toMatchObject([{ deadLetterId }]);
    const handle = () =>
      sql.transaction(async (query) => {
        await write(query, owner, again);
        await checkpoint(query, owner, again, [deadLetterId]);
      });
    await handle();
    expect(await sqlRefusal(handle())).toMatchObject({ reason: 'VERSION_CONFLICT' });
    expect(await model('parked')).toEqual(['parked 0']);
    const { deadLetter } = await tailrace.deadLetters.getDeadLetter({ deadLetterId });
    expect(deadLetter?.state).toBe(DeadLetterState.CLOSED);
  });
});

describe('refused, and nothing is moved', () => {
  let owner: Owner;
  let answer: FetchEntriesResponse;
  let open: SqlTransaction;
  beforeAll(async () => {
    owner = await follower('refusing');
    await published('refusing', 4);
    answer = await fetched(owner, 2);
    open = await sql.begin();
    await open.query('savepoint s');
  });
  afterAll(() => open.rollback());

  const refused = async (
    change: Partial<Pick<FetchEntriesResponse, 'fromCursor' | 'toCursor'>>,
    letters?: string[],
  ) => {
    const { fromCursor, toCursor } = answer;
    const refusal = await sqlRefusal(checkpoint(open.query, owner, { fromCursor, toCursor, ...change }, letters));
    await open.query('rollback to savepoint s');
    return refusal;
  };
  const elsewhere = async () => {
    await tailrace.engine.publishEvents({ namespace: 'elsewhere', events: [{ type: 'a' }] });
    const { results } = await tailrace.engine.publishEvents({ namespace: 'elsewhere', events: [{ type: 'a' }] });
    return results[0]?.result.case === 'ok' ? results[0].result.value.cursor : '';
  };
  const damaged = (cursor: string) => `${cursor.slice(0, 44)}${cursor[44] === 'A' ? 'B' : 'A'}${cursor.slice(45)}`;

  it.each<[string, string, () => Promise<unknown> | unknown]>([
    ['a cursor of another namespace', 'BAD_CURSOR', async () => refused({ toCursor: await elsewhere() })],
    ['a damaged cursor', 'BAD_CURSOR', () => refused({ toCursor: damaged(answer.toCursor) })],
    ['no cursor', 'BAD_CURSOR', () => refused({ fromCursor: '' })],
    ['a step back', 'BAD_CURSOR', () => refused({ fromCursor: answer.toCursor, toCursor: answer.fromCursor })],
    ['a gap', 'VERSION_CONFLICT', () => refused({ fromCursor: answer.toCursor })],
    [
      'a dead letter that is none',
      'DEAD_LETTER_NOT_FOUND',
      () => refused({}, ['0190b5a0-0000-7000-8000-000000000000']),
    ],
  ])('%s', async (_, reason, call) => {
    expect(await call()).toMatchObject({ reason });
  });

  it('names every violation', async () => {
    const call = "select tailrace.commit_entries('*', '', null, 0, 256, -1, '', '')";
    const refusal = await sqlRefusal(open.query(call));
    await open.query('rollback to savepoint s');
    expect(refusal).toMatchObject({ code: 'TR010', reason: 'INVALID_FIELD' });
    expect(refusal.violations.map(({ field }) => field)).toEqual([
      ...['namespace', 'consumer', 'owner', 'generation', 'part', 'epoch'],
    ]);
  });

  it('and the right one is taken after all that', async () => {
    await checkpoint(open.query, owner, answer);
    await open.query('rollback to savepoint s');
    await owner.commit(answer);
    await eventually(async () => (await owner.drain()).length === 2);
  });
});
