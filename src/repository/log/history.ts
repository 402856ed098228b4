/**
 * The entries of one flow, or of one execution that has none: what an operator looks at. In the order of their positions.
 *
 * The index leads to rows in the order of seq. A transaction that was open for long has a low seq and a late position, so
 * what was read is put in order, and what might come before something that was not read yet waits for the next page: a
 * place names the position to go on from, and a seq behind which everything that is still owed stands. What is not
 * numbered yet is left out; it shows up within one pulse, at the end of the log.
 *
 * The events of an execution without a flow stand in flows of their own; they come with its other entries. An event may be
 * kept longer than what the log told of it.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type LogEntry, type PackedRow, unpack } from './entry.js';
import { readLargeBodies } from './large-bodies.js';

/**
 * A late row has a run of its own, whose hi is its seq; any other row lies in the run whose range holds it. `firm`: its
 * step had seen no later row before, so what has a higher seq has a higher position too. `open_from`: the lowest seq
 * that its step had to leave out. With an execution asked for, rows that do not speak of it are passed over here, but
 * for the last one, which tells how far was looked.
 */
function page(order: 'asc' | 'desc'): string {
  const [behind, last] = order === 'asc' ? ['>', 'max'] : ['<', 'min'];
  return `with f as materialized (
       select x.seq from (
         (select seq from {schema}.log_flow where flow = $1::uuid and seq ${behind} $2::bigint order by seq ${order} limit $3::int)
         union
         select e.seq from {schema}.event e
         where e.cause_execution = $1::uuid and e.seq ${behind} $2::bigint
           and e.seq >= (select i.floor_seq from {schema}.log_incarnation i)) x
       order by x.seq ${order} limit $3::int),
     l as (
       select l.* from f join {schema}.log l on l.seq = f.seq
       where $4::uuid is null or $4::uuid = any (l.execution) or l.seq = (select ${last}(seq) from f))
   select (r.base + before.n)::bigint as position, l.seq, l.at, l.namespace, l.kind, l.execution, l.flow, l.class,
     l.from_state, l.to_state, l.attempt, l.body, l.large, (select count(*) from f)::int as looked,
     r.hi = r.top as firm, (select min(lower(h)) from unnest(r.holes) h) as open_from
   from l
   left join lateral (
     select r.base, r.lo, r.hi, r.top, r.holes from {schema}.log_run r
     where r.hi >= l.seq and r.lo <= l.seq and (r.lo = r.hi or not l.seq <@ any (r.holes)) order by r.hi limit 1) r on true
   left join lateral (
     select coalesce(sum(e.n), 0) as n from {schema}.log e
     where e.seq >= r.lo and e.seq < l.seq and not e.seq <@ any (r.holes)) before on true
   order by l.seq ${order}`;
}

const forward = statement('log.history', page('asc'));
const backward = statement('log.history-backward', page('desc'));

/** Where a page begins, and where the next one goes on. */
export interface HistoryPlace {
  /** The first position wanted. */
  readonly position: bigint;
  /** Everything wanted stands behind this seq; 0: at the end that the order starts at. */
  readonly afterSeq: bigint;
}

export interface HistoryPage {
  /** The flow, or the execution when it has no flow. */
  readonly of: string;
  /** Only this execution's entries, out of its flow's. */
  readonly execution?: string;
  /** Default: the end that the order starts at. */
  readonly from?: HistoryPlace;
  /** Transactions to look at, not entries; more where fewer do not tell their order. */
  readonly limit: number;
  readonly newestFirst?: boolean;
}

export interface History {
  readonly entries: LogEntry[];
  /** Undefined when this was the last page. */
  readonly next: HistoryPlace | undefined;
}

interface Row extends PackedRow {
  readonly looked: number;
  readonly firm: boolean;
  readonly open_from: bigint | null;
}
type Unnumbered = Omit<Row, 'position'> & { readonly position: null };

const MAX = 2n ** 63n - 1n;

export async function readHistory(runner: Runner, asked: HistoryPage): Promise<History> {
  const { of, execution = null, newestFirst = false } = asked;
  const from = asked.from ?? { position: newestFirst ? MAX : 0n, afterSeq: 0n };
  const afterSeq = newestFirst && from.afterSeq === 0n ? MAX : from.afterSeq;
  for (let limit = asked.limit; ; limit *= 2) {
    const values = [of, afterSeq, limit, execution];
    const found = await runner.query<Row | Unnumbered>(newestFirst ? backward : forward, values);
    const rows = found.filter((row): row is Row => row.position !== null);
    const large = await readLargeBodies(runner, rows);
    const wanted = rows
      .flatMap((row) => unpack(row, large))
      .filter((entry) => (execution ?? entry.execution) === entry.execution)
      .filter((entry) => (entry.flow ?? entry.execution) === of || entry.execution === of)
      .filter(({ position }) => (newestFirst ? position <= from.position : position >= from.position))
      .sort((a, b) => Number(newestFirst ? b.position - a.position : a.position - b.position));
    if ((found[0]?.looked ?? 0) < limit) return { entries: wanted, next: undefined };
    const upTo = newestFirst ? firmDown(rows, found.at(-1)?.seq ?? 0n) : firmUp(rows);
    if (upTo === undefined) continue;
    const next = placeBehind(upTo, found, newestFirst, from.position);
    const entries = wanted.filter(({ position }) => (newestFirst ? position >= upTo : position <= upTo));
    if (entries.length > 0 || next.afterSeq !== afterSeq) return { entries, next };
  }
}

/** Up to here nothing can come in between: rows behind the last firm one have higher positions. */
function firmUp(rows: readonly Row[]): bigint | undefined {
  const row = rows.findLast(({ firm }) => firm);
  return row && row.position + BigInt(row.kind.length) - 1n;
}

/** Down to here nothing can come in between: no row before `lowest` was still open when this one was numbered. */
function firmDown(rows: readonly Row[], lowest: bigint): bigint | undefined {
  return rows.findLast((row) => row.firm && (row.open_from === null || row.open_from >= lowest))?.position;
}

/** Behind what was answered, but not behind a row that waits for the next page. */
function placeBehind(
  upTo: bigint,
  found: readonly (Row | Unnumbered)[],
  newestFirst: boolean,
  begun: bigint,
): HistoryPlace {
  const last = found.at(-1)?.seq ?? 0n;
  if (newestFirst) {
    const owed = found.find(({ position }) => position !== null && position < upTo);
    const afterSeq = owed === undefined ? last : owed.seq + 1n;
    return { position: begun < upTo ? begun : upTo - 1n, afterSeq };
  }
  const owed = found.find(({ position }) => position === null || position > upTo);
  const afterSeq = owed === undefined ? last : owed.seq - 1n;
  return { position: begun > upTo ? begun : upTo + 1n, afterSeq };
}
