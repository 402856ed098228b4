/** The events of one stream, by their versions, as far as its namespace shows them. */
import type { Runner } from '../database.js';
import { logFloorOf } from '../namespaces/shown.js';
import { statement } from '../statement.js';

/** The sizes of payloads are known without reading them. */
const page = (order: 'asc' | 'desc') => `
  select s.version as head, array(
    select x.id from (
      select e.id, e.version,
        sum(coalesce(octet_length(e.payload), 0)) over (order by e.version ${order}) - coalesce(octet_length(e.payload), 0) before
      from (
        select y.id, y.version, y.payload from {schema}.event y
        where y.stream = s.id and y.stream is not null and y.version >= v.first
          and y.version ${order === 'asc' ? '>=' : '<='} $3::bigint
        order by y.version ${order} limit $4::int) e) x
    where x.before < $5::bigint order by x.version ${order}) as ids
  from {schema}.stream s
  cross join lateral (select {schema}.first_shown(s.id, s.version, ${logFloorOf('$1::int')}) as first offset 0) v
  where s.namespace = $1::int and s.name = $2::text`;

const forward = statement('events.read-stream', page('asc'));
const backward = statement('events.read-stream-backward', page('desc'));

export interface StreamWanted {
  readonly namespace: number;
  readonly stream: string;
  readonly from: bigint;
  readonly backward: boolean;
  readonly events: number;
  /** Of payloads: a page ends with the event that reaches it. */
  readonly bytes: number;
}

export interface StreamPage {
  readonly head: bigint;
  /** Internal ids of events. */
  readonly ids: readonly string[];
}

/** Undefined if nothing was ever stored there. */
export async function readStream(runner: Runner, wanted: StreamWanted): Promise<StreamPage | undefined> {
  const { namespace, stream, from, events, bytes } = wanted;
  const [row] = await runner.query<StreamPage>(wanted.backward ? backward : forward, [
    namespace,
    stream,
    from,
    events,
    bytes,
  ]);
  // One that was named only by events that were refused has no version.
  return row && row.head > 0n ? row : undefined;
}
