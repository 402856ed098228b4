/**
 * Begins a bulk redrive: writes down which letters it selects, in the transaction that makes it. Of a crash nothing is left; a
 * repeat under the same request id finds the first.
 */
import type { Content } from '../bytes.js';
import type { Database, Runner } from '../database.js';
import { type LetterFilter, selectingValues, selects } from '../dead-letters/filter.js';
import { statement } from '../statement.js';

/** Letters that one redrive takes. */
export const SELECTED_MOST = 1_000_000;

/** Parameters: the namespace and the filter, then the redrive and how many letters. A follower goes when its head does. */
const select = statement(
  'redrives.select',
  `with made as (
     insert into {schema}.redrive_item (redrive, letter, version)
       select $17::uuid, d.id, d.version from {schema}.dead_letter d
       where d.namespace = $1::int and d.state = 1 and not d.follower and ${selects('d')}
       order by d.id limit $18::int
     returning 1)
   select count(*)::int as selected from made`,
);

const make = statement(
  'redrives.make',
  `with made as (
     insert into {schema}.redrive as r (id, namespace, request_id, state, filter, rate, canary, canary_max_failures, max_count, detached,
         lane, patch_type, patch, actor, note, selected, paced_at, told_at, created_at)
       select $1::uuid, $2::int, $15::text, case when $5::int > 0 then 1 else 2 end, $3::jsonb, $4::int, $5::int, $6::int, $7::bigint,
         $8::boolean, $9::text, $10::text, $11::bytea, $12::text, $13::text, $14::int, t.now, t.now, t.now
       from (select clock_timestamp() as now) t
     returning r)
   select {schema}.log_redrive(80::smallint, made.r, jsonb_build_object('rate', $4::int, 'canary', $5::int,
     'actor', $12::text, 'reason', $13::text)) from made`,
);

const takeKey = statement(
  'redrives.take-key',
  `insert into {schema}.request_key (namespace, request_id, execution, hash, created_at)
   values ($1::int, $2::text, $3::uuid, $4::bytea, clock_timestamp()) on conflict do nothing returning execution`,
);

const readKey = statement(
  'redrives.request-key',
  'select k.execution, k.hash from {schema}.request_key k where k.namespace = $1::int and k.request_id = $2::text',
);

type JsonValue = number | string | boolean | null | JsonValue[] | { [name: string]: JsonValue };

export interface NewRedrive {
  /** UUIDv7. */
  readonly id: string;
  readonly requestId: string | null;
  /** Of what was asked for. */
  readonly hash: Buffer;
  readonly filter: LetterFilter;
  /** As it is shown again. */
  readonly shownFilter: JsonValue;
  readonly rate: number;
  readonly canary: number;
  readonly canaryMaxFailures: number;
  /** 0: all. */
  readonly maxCount: bigint;
  readonly detached: boolean;
  readonly lane: string | null;
  readonly patch: Content | null;
  readonly actor: string;
  readonly note: string;
}

export interface StartAnswer {
  /** duplicate: an earlier call with this request id had started it. reused: that was for something else. */
  readonly verdict: 'started' | 'duplicate' | 'reused';
  readonly redrive: string;
}

export function startRedrive(database: Database, namespace: number, asked: NewRedrive): Promise<StartAnswer> {
  const { id, maxCount, patch } = asked;
  return database.transaction(async (runner): Promise<StartAnswer> => {
    const before = await earlier(runner, namespace, asked);
    if (before !== undefined) return before;
    const [row] = await runner.query<{ selected: number }>(select, [
      namespace,
      ...selectingValues(asked.filter),
      id,
      mostOf(maxCount),
    ]);
    await runner.query(make, [
      id,
      namespace,
      JSON.stringify(asked.shownFilter),
      asked.rate,
      asked.canary,
      asked.canaryMaxFailures,
      maxCount,
      asked.detached,
      asked.lane,
      patch?.type ?? null,
      patch?.body ?? null,
      asked.actor,
      asked.note,
      row?.selected ?? 0,
      asked.requestId,
    ]);
    return { verdict: 'started', redrive: id };
  });
}

/** `maxCount` 0: as many as one redrive takes. */
export function mostOf(maxCount: bigint): number {
  return maxCount === 0n || maxCount > SELECTED_MOST ? SELECTED_MOST : Number(maxCount);
}

/** The key is taken first, so of two at once the second waits for it, and then reads in a statement of its own. */
async function earlier(
  runner: Runner,
  namespace: number,
  { id, requestId, hash }: NewRedrive,
): Promise<StartAnswer | undefined> {
  if (requestId === null) return undefined;
  const taken = await runner.query(takeKey, [namespace, requestId, id, hash]);
  if (taken.length > 0) return undefined;
  const [key] = await runner.query<{ execution: string; hash: Buffer }>(readKey, [namespace, requestId]);
  if (key === undefined) throw new Error('a request key that is taken was not found');
  return { verdict: key.hash.equals(hash) ? 'duplicate' : 'reused', redrive: key.execution };
}
