/**
 * SQL for lists that read a bounded number of rows whatever their filter finds.
 *
 * A list goes down one or several sources by key, highest first, or up. Each source is read in key order, at most `budget` rows
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
  /** Up instead of down: the page begins above the key, and a floor is a ceiling. */
  readonly up?: boolean;
}

/** Common table expressions `page (k1, …)` and `floor (k1, …)`; floor has one row, null when everything was read. */
export function boundedScan(sources: readonly Source[], bounds: Bounds): string {
  const step = bounds.up ? 'asc' : 'desc';
  const [keys, order] = [list(bounds.below, (i) => `k${i}`), list(bounds.below, (i) => `k${i} ${step}`)];
  const floors = sources.map((source) => `(${floorOf(source, bounds)})`).join('\n       union all ');
  const wanted = sources.map(({ name }) => `select ${keys} from ${name}`).join(' union all ');
  const nulls = list(bounds.below, (i) => `f.k${i}`);
  return `${sources.map((source) => scanOf(source, bounds)).join(',\n   ')},
   floor as materialized (
     select ${nulls} from (select) one left join (
       select * from (${floors}) f order by ${order} limit 1) f on true),
   page as materialized (
     select ${list(bounds.below, (i) => `w.k${i}`)} from (${wanted}) w, floor
     where floor.k1 is null or (${list(bounds.below, (i) => `w.k${i}`)}) ${bounds.up ? '<=' : '>='} (${list(bounds.below, (i) => `floor.k${i}`)})
     order by ${order} limit ${bounds.rows})`;
}

function scanOf(source: Source, bounds: Bounds): string {
  const { below, rows, budget, up } = bounds;
  const columns = [...source.key.map((column, i) => `t.${column} as k${i + 1}`), ...source.columns];
  const order = list(below, (i) => `s.k${i} ${up ? 'asc' : 'desc'}`);
  return `${source.name} as materialized (
     select ${list(below, (i) => `s.k${i}`)}
     from (select ${columns.join(', ')} ${rangeOf(source, bounds)} limit ${budget}) s
     ${source.filter} order by ${order} limit ${rows})`;
}

/** Computed only where the page was not filled. */
function floorOf(source: Source, bounds: Bounds): string {
  const { rows, budget } = bounds;
  const keys = source.key.map((column, i) => `t.${column} as k${i + 1}`).join(', ');
  return `select ${keys} ${rangeOf(source, bounds, `(select count(*) from ${source.name}) < ${rows}`)}
       offset ${budget} - 1 limit 1`;
}

function rangeOf(source: Source, { below, up }: Bounds, also = 'true'): string {
  const order = source.key.map((column) => `t.${column} ${up ? 'asc' : 'desc'}`).join(', ');
  return `from ${source.from} where ${also} and ${source.where}
         and (${source.key.map((column) => `t.${column}`).join(', ')}) ${up ? '>' : '<'} (${below.join(', ')}) order by ${order}`;
}

function list(key: readonly unknown[], item: (number: number) => string): string {
  return key.map((_, i) => item(i + 1)).join(', ');
}
