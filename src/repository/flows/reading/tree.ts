/**
 * Pages through the tree of causes of a flow, events and executions, parents before children. What a node stands below, and
 * in which order they come, is said where the walk is (migrations/0037); here the nodes get what is shown of them.
 */
import type { Runner } from '../../database.js';
import { type EventRow, readEvents } from '../../events/index.js';
import { EXECUTION_JOINS, type ExecutionRow, executionColumns } from '../../inspection/execution-row.js';
import { isEventShown, isExecutionShown, isFlowShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';

const read = statement(
  'flows.tree',
  `with walk as materialized (
     select t.n, t.id as k1, t.is_event, t.above, t.depth
     from {schema}.flow_tree($1::int, $2::uuid, $3::text, $4::int, $5::uuid, $6::int, $7::int, $8::int) t
     where ${isFlowShown('$2::uuid', '$1::int')}),
   page as materialized (select w.n, w.k1 from walk w where w.n > 0 and not w.is_event)
   select w.n, w.k1 as node, w.is_event, w.above, w.depth,
     case when w.is_event then
         (select ${isEventShown('x.published_at', '$1::int')} from {schema}.event x where x.id = w.k1)
       else ${isExecutionShown('w.k1', '$1::int')} end as is_shown, member.*
   from walk w left join (select page.n as at, ${executionColumns('-1', 'false')} from page ${EXECUTION_JOINS}) member
     on member.at = w.n
   order by w.n`,
);

export interface TreeNode {
  /** As it is known outside, as what it stands below is; that is null for a root. */
  readonly id: string;
  readonly above: string | null;
  /** Edges from the root. */
  readonly depth: number;
  readonly what: { readonly event: EventRow } | { readonly execution: ExecutionRow };
}

/** After a node; or in search of the next root, after an event or execution that is none. */
export interface TreePlace {
  readonly id: string;
  readonly scan: 'node' | 'events' | 'executions';
}

export interface TreePage {
  readonly namespace: number;
  readonly flow: string;
  /** Only this event or execution and what lies below it; null: the whole tree. */
  readonly root: string | null;
  /** Deepest level to show; null: all. */
  readonly depth: number | null;
  /** Where the page before ended. */
  readonly after: TreePlace | undefined;
  readonly size: number;
  /** Rows looked at for roots at most. */
  readonly budget?: number;
}

export interface TreeList {
  readonly nodes: readonly TreeNode[];
  readonly next: TreePlace | undefined;
}

interface Row extends ExecutionRow {
  readonly n: number;
  readonly node: string;
  readonly is_event: boolean;
  readonly above: string | null;
  readonly depth: number | null;
  readonly is_shown: boolean | null;
}

const ALL_LEVELS = 2 ** 31 - 1;
const BUDGET = 10_000;
const SCANS = ['node', 'events', 'executions'] as const;
const NO_PAYLOADS = -1;

/** no_flow: this namespace has no such flow. no_root: what was asked for as root is not in it. */
export async function readTree(runner: Runner, page: TreePage): Promise<TreeList | 'no_flow' | 'no_root'> {
  const rows = await runner.query<Row>(read, [
    page.namespace,
    page.flow,
    page.root,
    page.depth ?? ALL_LEVELS,
    page.after?.id ?? null,
    SCANS.indexOf(page.after?.scan ?? 'node'),
    page.size + 1,
    page.budget ?? BUDGET,
  ]);
  const start = rows.find(({ n }) => n === 0);
  if (start === undefined) return 'no_flow';
  if (start.depth === null) return 'no_root';
  const found = rows.filter(({ n }) => n > 0);
  const shown = found.slice(0, page.size);
  const { node: id, depth } =
    found.length > page.size ? { ...shown.at(-1), depth: 0 } : { ...rows.find(({ n }) => n < 0) };
  const next = id === undefined ? undefined : { id, scan: SCANS[depth ?? 0] ?? 'node' };
  // What is not shown any more still counts for where the page ends.
  return {
    nodes: await withEvents(
      runner,
      shown.filter(({ is_shown }) => is_shown),
    ),
    next,
  };
}

/** Events are read on their own, for an event never changes; so are those that nodes stand below, for the ids they are known by. */
async function withEvents(runner: Runner, rows: readonly Row[]): Promise<TreeNode[]> {
  const wanted = rows.flatMap(({ is_event, node, above }) => [is_event ? node : null, above]);
  const ids = [...new Set(wanted)].filter((id) => id !== null);
  const found = ids.length > 0 ? await readEvents(runner, ids, NO_PAYLOADS) : [];
  const events = new Map(found.map((row) => [row.id, row]));
  const outside = (id: string) => events.get(id)?.event_id ?? id;
  return rows.flatMap((row): TreeNode[] => {
    const above = row.above === null ? null : outside(row.above);
    const at = { id: outside(row.node), above, depth: row.depth ?? 0 };
    if (!row.is_event) return [{ ...at, what: { execution: row } }];
    const event = events.get(row.node);
    return event ? [{ ...at, what: { event } }] : [];
  });
}
