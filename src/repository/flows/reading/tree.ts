/**
 * Pages through the tree of causes of a flow: a member below the one that spawned it, parents before children.
 *
 * Each node is followed by its first child, else by the next sibling of the nearest of itself and its ancestors that has
 * one, else by the next root. Each of these is one probe of an index, so a page costs what it shows, wherever it begins,
 * and its token is one id: the way from the root to it is looked up. Children belong to their parent's flow, so no probe
 * asks for it: with the flow beside the parent, all members were read to find one child.
 */
import type { Runner } from '../../database.js';
import { EXECUTION_JOINS, type ExecutionRow, executionColumns } from '../../inspection/execution-row.js';
import { FIRST_ID } from '../../inspection/id-bounds.js';
import { statement } from '../../statement.js';

/** `way`: ids from the root to the node, itself included. A root that was asked for is the only one, whatever spawned it. */
const read = statement(
  'flows.tree',
  `with recursive subject as materialized (
     select f.id, $3::uuid is null or exists (
       select from {schema}.execution e where e.id = $3::uuid and e.flow = f.id) as known
     from {schema}.flow f where f.id = $2::uuid and f.namespace = $1::int),
   up (id, parent, n) as (
     select e.id, e.parent, 1 from subject
     cross join lateral (
       select x.id, x.parent from {schema}.execution x where x.id = $4::uuid and x.flow = $2::uuid limit 1) e
     union all
     select e.id, e.parent, up.n + 1 from up
     cross join lateral (
       select x.id, x.parent from {schema}.execution x
       where x.id = up.parent and x.flow = $2::uuid and up.id is distinct from $3::uuid limit 1) e),
   walk (n, way) as (
     select 0, (select coalesce(array_agg(up.id order by up.n desc), '{}') from up) from subject
     where subject.known and ($4::uuid is null or exists (select from up))
     union all
     select w.n + 1, next.way from walk w
     cross join lateral (
       select coalesce(
         (select w.way || x.id from {schema}.execution x
          where x.parent = w.way[cardinality(w.way)] and x.parent is not null and cardinality(w.way) <= $5::int
          order by x.id limit 1),
         (select w.way[:i - 1] || s.id from generate_series(cardinality(w.way), 2, -1) i
          cross join lateral (
            select x.id from {schema}.execution x
            where x.parent = w.way[i - 1] and x.parent is not null and x.id > w.way[i] order by x.id limit 1) s
          limit 1),
         case when $3::uuid is null then (
           select array[x.id] from {schema}.execution x
           where x.flow = $2::uuid and x.flow is not null and x.parent is null and x.id > coalesce(w.way[1], '${FIRST_ID}')
           order by x.id limit 1)
         when cardinality(w.way) = 0 then array[$3::uuid] end) as way offset 0) next
     where w.n < $6::int and next.way is not null),
   page as materialized (
     select w.n, w.way[cardinality(w.way)] as k1, w.way[cardinality(w.way) - 1] as above, cardinality(w.way) - 1 as depth
     from walk w where w.n > 0)
   select subject.known, page.above, page.depth, ${executionColumns('-1', 'false')}
   from subject left join (page ${EXECUTION_JOINS}) on true order by page.n`,
);

export interface TreeNode {
  /** The node it stands below; null for a root. */
  readonly above: string | null;
  /** Edges from the root. */
  readonly depth: number;
  readonly execution: ExecutionRow;
}

export interface TreePage {
  readonly namespace: number;
  readonly flow: string;
  /** Only this execution and what lies below it; null: the whole tree. */
  readonly root: string | null;
  /** Deepest level to show; null: all. */
  readonly depth: number | null;
  /** The id that the page before ended with. */
  readonly after: string | null;
  readonly size: number;
}

export interface TreeList {
  readonly nodes: readonly TreeNode[];
  readonly next: string | undefined;
}

const ALL_LEVELS = 2 ** 31 - 1;

/** no_flow: this namespace has no such flow. no_root: what was asked for as root is no member of it. */
export async function readTree(runner: Runner, page: TreePage): Promise<TreeList | 'no_flow' | 'no_root'> {
  type Row = ExecutionRow & { readonly known: boolean; readonly above: string | null; readonly depth: number | null };
  const rows = await runner.query<Row>(read, [
    page.namespace,
    page.flow,
    page.root,
    page.after,
    page.depth ?? ALL_LEVELS,
    page.size + 1,
  ]);
  const [first] = rows;
  if (first === undefined) return 'no_flow';
  if (!first.known) return 'no_root';
  const found = rows.flatMap((row) =>
    row.depth === null ? [] : [{ above: row.above, depth: row.depth, execution: row }],
  );
  const nodes = found.slice(0, page.size);
  return { nodes, next: found.length > page.size ? nodes.at(-1)?.execution.id : undefined };
}
