/**
 * SQL for lists that read a bounded number of rows whatever their filter finds.
 *
 * A list goes down one or several sources by key, highest first. Each source is read in key order, at most `budget` rows
 * of it, and filtered while it is read; it stops early once a page is full, which is the usual case. Where the filter
 * finds little, the source tells down to which key it has looked: its floor. A page ends at the highest floor of its
 * sources, for below it one of them may still hold something. It may therefore be short, or empty, and have a next one.
 */

export interface Source {
  readonly name: string;
  /** What is read, as `t`, and which rows of it: this and the range of the key must be decided by one index. */
  readonly from: string;
  readonly where: string;
  /** Columns of the key. */
  readonly key: readonly string[];
  /** Columns the filter needs. */
  readonly columns: readonly string[];
  /** Which of the rows read are wanted: joins (lateral, one row each) to the row `s`, and `where`. */
  readonly filter: string;
}

export interface Bounds {
  /** The key that a page begins below, column by column. */
  readonly below: readonly string[];
  /** Rows wanted: one more than the page holds, which shows whether there is more. */
  readonly rows: string;
  /** Rows read of each source at most. */
  readonly budget: string;
}

/** Common table expressions `page (k1, …)` and `floor (k1, …)`; floor has one row, null when everything was read. */
export function boundedScan(sources: readonly Source[], bounds: Bounds): string {
  const [keys, descending] = [list(bounds.below, (i) => `k${i}`), list(bounds.below, (i) => `k${i} desc`)];
  const floors = sources.map((source) => `(${floorOf(source, bounds)})`).join('\n       union all ');
  const wanted = sources.map(({ name }) => `select ${keys} from ${name}`).join(' union all ');
  const nulls = list(bounds.below, (i) => `f.k${i}`);
  return `${sources.map((source) => scanOf(source, bounds)).join(',\n   ')},
   floor as materialized (
     select ${nulls} from (select) one left join (
       select * from (${floors}) f order by ${descending} limit 1) f on true),
   page as materialized (
     select ${list(bounds.below, (i) => `w.k${i}`)} from (${wanted}) w, floor
     where floor.k1 is null or (${list(bounds.below, (i) => `w.k${i}`)}) >= (${list(bounds.below, (i) => `floor.k${i}`)})
     order by ${descending} limit ${bounds.rows})`;
}

function scanOf(source: Source, { below, rows, budget }: Bounds): string {
  const columns = [...source.key.map((column, i) => `t.${column} as k${i + 1}`), ...source.columns];
  const order = list(below, (i) => `s.k${i} desc`);
  return `${source.name} as materialized (
     select ${list(below, (i) => `s.k${i}`)}
     from (select ${columns.join(', ')} ${rangeOf(source, below)} limit ${budget}) s
     ${source.filter} order by ${order} limit ${rows})`;
}

/** Computed only where the page was not filled. */
function floorOf(source: Source, { below, rows, budget }: Bounds): string {
  const keys = source.key.map((column, i) => `t.${column} as k${i + 1}`).join(', ');
  return `select ${keys} ${rangeOf(source, below, `(select count(*) from ${source.name}) < ${rows}`)}
       offset ${budget} - 1 limit 1`;
}

function rangeOf(source: Source, below: readonly string[], also = 'true'): string {
  const order = source.key.map((column) => `t.${column} desc`).join(', ');
  return `from ${source.from} where ${also} and ${source.where}
         and (${source.key.map((column) => `t.${column}`).join(', ')}) < (${below.join(', ')}) order by ${order}`;
}

function list(key: readonly unknown[], item: (number: number) => string): string {
  return key.map((_, i) => item(i + 1)).join(', ');
}
