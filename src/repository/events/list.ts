/**
 * Pages through events, newest first: down the rows themselves, or the index of a type, a flow, a cause; a batch or rare
 * tags are taken whole, and a stream is read by its versions. Whatever the filter, a page reads a bounded number of rows
 * (inspection/bounded-scan.ts).
 */
import type { Runner } from '../database.js';
import { boundedScan, type Source } from '../inspection/bounded-scan.js';
import { FIRST_ID, firstIdOf, idAfter } from '../inspection/id-bounds.js';
import { isEventShown, logFloorOf } from '../namespaces/shown.js';
import { statement } from '../statement.js';

const FILTER = `where s.namespace = $1::int and ($2::text[] is null or s.type = any ($2::text[]))
       and ($3::int is null or s.stream = $3::int) and ($4::uuid is null or s.flow = $4::uuid)
       and ($5::uuid is null or s.cause = $5::uuid) and ($6::uuid is null or s.batch = $6::uuid)
       and ($7::jsonb is null or s.tags @> $7::jsonb)
       and ($8::timestamptz is null or s.published_at >= $8::timestamptz)
       and ($9::timestamptz is null or s.published_at < $9::timestamptz) and ${isEventShown('s.published_at', '$1::int')}`;

/** Internal ids are made up to so long before their event is published. What lies below is not walked to find it hidden. */
const LEAST_ID = `(select coalesce({schema}.uuid_at((extract(epoch from y.log_floor_at) * 1000)::bigint - ${5 * 60_000}), '${FIRST_ID}')
         from {schema}.namespace y where y.id = $1::int)`;
const COLUMNS = ['namespace', 'type', 'stream', 'flow', 'cause', 'batch', 'tags', 'published_at'];

/** `$10` says which way in is taken. */
function source(way: string, where: string, from = '{schema}.event t'): Source {
  return {
    name: way,
    from,
    where: `$10::text = '${way}' and ${where} and t.id >= $11::uuid and t.id >= ${LEAST_ID}`,
    key: ['id'],
    columns: COLUMNS,
    filter: FILTER,
  };
}

/** The inner select keeps the plan from walking all events in the order of their ids to find a few. */
const whole = (where: string) => `(select x.* from {schema}.event x where ${where} offset 0) t`;

const list = statement(
  'events.list',
  `with ${boundedScan(
    [
      source('every', 'true'),
      source('typed', 't.namespace = $1::int and t.type = ($2::text[])[1]'),
      source('flowing', 't.flow = $4::uuid'),
      source('caused', 't.cause = $5::uuid and t.cause is not null'),
      source('batched', 'true', whole(`$10::text = 'batched' and x.batch = $6::uuid and x.batch is not null`)),
      source('tagged', 'true', whole(`$10::text = 'tagged' and x.tags @> $7::jsonb and x.tags <> '{}'`)),
    ],
    { below: ['$12::uuid'], rows: '$13::int', budget: '$14::int' },
  )}
   select floor.k1 as floor, page.k1 as id from floor left join page on true order by page.k1 desc`,
);

const listStream = statement(
  'events.list-stream',
  `with ${boundedScan(
    [
      {
        name: 'streaming',
        from: '{schema}.event t',
        where: `t.stream = $3::int and t.stream is not null and $10::text = 'streaming' and $11::uuid is not null
         and t.version >= (select {schema}.first_shown(y.id, y.version, ${logFloorOf('$1::int')}) from {schema}.stream y where y.id = $3::int)`,
        key: ['version'],
        columns: ['id', ...COLUMNS],
        filter: FILTER,
      },
    ],
    { below: ['$12::bigint'], rows: '$13::int', budget: '$14::int' },
  )}
   select floor.k1 as floor, page.k1 as version,
     (select e.id from {schema}.event e where e.stream = $3::int and e.stream is not null and e.version = page.k1) as id
   from floor left join page on true order by page.k1 desc`,
);

const countTagged = statement(
  'events.count-tagged',
  `select count(*)::int as n from (
     select from {schema}.event e where e.tags @> $1::jsonb and e.tags <> '{}' limit $2::int) x`,
);

const findStream = statement(
  'events.find-stream',
  'select s.id from {schema}.stream s where s.namespace = $1::int and s.name = $2::text',
);

export interface EventFilter {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly types: readonly string[] | null;
  readonly stream: string | null;
  readonly flow: string | null;
  /** Internal id. */
  readonly cause: string | null;
  readonly batch: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
  readonly publishedFrom: Date | null;
  readonly publishedBefore: Date | null;
}

export interface EventList {
  /** Internal ids. */
  readonly ids: readonly string[];
  /** What `below` is for the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

const BUDGET = 10_000;
const NOTHING: EventList = { ids: [], next: undefined };
const LAST_VERSION = (2n ** 63n - 1n).toString();

type Way = 'every' | 'typed' | 'flowing' | 'caused' | 'batched' | 'tagged' | 'streaming';

/** Whether pages go by versions of the stream, not by ids. */
export function isByVersion({ stream, cause, batch, flow }: EventFilter): boolean {
  return stream !== null && cause === null && batch === null && flow === null;
}

/** `below`: the id, or version, that the page before ended with. */
export async function listEvents(
  runner: Runner,
  filter: EventFilter,
  below: string | null,
  size: number,
  budget = BUDGET,
): Promise<EventList> {
  let stream: number | null = null;
  if (filter.stream !== null) {
    const [found] = await runner.query<{ id: number }>(findStream, [filter.namespace, filter.stream]);
    if (found === undefined) return NOTHING;
    stream = found.id;
  }
  const way = await wayIn(runner, filter, budget);
  const highest = way === 'streaming' ? LAST_VERSION : idAfter(filter.publishedBefore);
  const rows = await runner.query<Found>(way === 'streaming' ? listStream : list, [
    filter.namespace,
    filter.types,
    stream,
    filter.flow,
    filter.cause,
    filter.batch,
    filter.tags === null ? null : JSON.stringify(filter.tags),
    filter.publishedFrom,
    filter.publishedBefore,
    way,
    firstIdOf(filter.publishedFrom),
    below !== null && (way === 'streaming' || below < highest) ? below : highest,
    size + 1,
    budget,
  ]);
  const found = rows.filter((row) => row.id !== null);
  const last = found.length > size ? found[size - 1] : undefined;
  const next = last ? (last.version ?? last.id) : rows[0]?.floor;
  return { ids: found.slice(0, size).map(({ id }) => id as string), next: next == null ? undefined : `${next}` };
}

interface Found {
  readonly floor: string | bigint | null;
  readonly id: string | null;
  readonly version?: bigint | null;
}

/** Tags that few events have are the way in; those that many have are met soon enough on any other. */
async function wayIn(runner: Runner, filter: EventFilter, budget: number): Promise<Way> {
  if (filter.batch !== null) return 'batched';
  if (filter.cause !== null) return 'caused';
  if (filter.flow !== null) return 'flowing';
  if (filter.stream !== null) return 'streaming';
  if (filter.tags !== null) {
    const [row] = await runner.query<{ n: number }>(countTagged, [JSON.stringify(filter.tags), budget]);
    if ((row?.n ?? 0) < budget) return 'tagged';
  }
  return filter.types?.length === 1 ? 'typed' : 'every';
}
