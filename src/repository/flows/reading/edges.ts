/** Pages through edges, by downstream and place in its join: of a flow, or those around one execution. */
import type { Runner } from '../../database.js';
import { boundedScan, type Source } from '../../inspection/bounded-scan.js';
import { FIRST_ID } from '../../inspection/id-bounds.js';
import { isExecutionShown, isShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';

const KEY = ['downstream', 'barrier', 'idx'] as const;

/** What one execution needs, or what needs it, is read whole: an index in this order would cost every slot of every flow. */
function around(name: string, column: string, direction: string): Source {
  return {
    name,
    from: `(select x.* from {schema}.slot x
         where $3::uuid is not null and ${direction} and x.${column} = $3::uuid and x.is_edge offset 0) t`,
    where: 'true',
    key: KEY,
    columns: [],
    filter: '',
  };
}

/** What was filled right now stands in `filling` until its join is folded. */
const list = statement(
  'flows.edges',
  `with subject as materialized (
     select f.id from {schema}.flow f
     where f.id = $2::uuid and f.namespace = $1::int and ${isShown('f.ended_at', '$1::int')}
     union all
     select e.id from {schema}.execution e
     where e.id = $3::uuid and e.namespace = $1::int and ${isExecutionShown('e.id', '$1::int')}),
   ${boundedScan(
     [
       {
         name: 'of_flow',
         from: '{schema}.slot t',
         where: 't.flow = $2::uuid and t.is_edge',
         key: KEY,
         columns: [],
         filter: '',
       },
       around('needs', 'downstream', '$4::boolean'),
       around('feeds', 'upstream', '$5::boolean'),
     ],
     { below: ['$6::uuid', '$7::uuid', '$8::int'], rows: '$9::int', budget: '$10::int', up: true },
   )}
   select s.flow, s.upstream, s.downstream, s.name, s.optional, s.source, s.barrier, s.idx,
     coalesce(s.outcome, w.outcome)::int as outcome, s.late
   from subject left join (page
     cross join lateral (select x.* from {schema}.slot x where x.barrier = page.k2 and x.idx = page.k3 limit 1) s
     left join lateral (
       select x.outcome from {schema}.filling x where x.barrier = s.barrier and x.idx = s.idx limit 1) w on true) on true
   order by s.downstream, s.barrier, s.idx`,
);

export interface EdgeRow {
  readonly flow: string | null;
  readonly upstream: string;
  readonly downstream: string;
  readonly name: string;
  readonly optional: boolean;
  /** As declared; null: the upstream itself. */
  readonly source: string | null;
  readonly barrier: string;
  readonly idx: number;
  /** Null while its slot is not filled. */
  readonly outcome: number | null;
  readonly late: boolean;
}

export interface EdgeKey {
  readonly downstream: string;
  readonly barrier: string;
  readonly idx: number;
}

export interface EdgePage {
  readonly namespace: number;
  /** Exactly one of these is given. */
  readonly flow: string | null;
  readonly execution: string | null;
  /** Of an execution: edges to what it needs, and to what needs it. */
  readonly needs: boolean;
  readonly feeds: boolean;
  /** What the page before ended with. */
  readonly after: EdgeKey | undefined;
  readonly size: number;
}

export interface EdgeList {
  readonly edges: readonly EdgeRow[];
  readonly next: EdgeKey | undefined;
}

const BEFORE_FIRST = -1;

/** Undefined when this namespace has no such flow or execution. */
export async function listEdges(runner: Runner, page: EdgePage): Promise<EdgeList | undefined> {
  const { after, size } = page;
  const rows = await runner.query<EdgeRow & { readonly barrier: string | null }>(list, [
    page.namespace,
    page.flow,
    page.execution,
    page.needs,
    page.feeds,
    after?.downstream ?? FIRST_ID,
    after?.barrier ?? FIRST_ID,
    after?.idx ?? BEFORE_FIRST,
    size + 1,
    size + 1,
  ]);
  if (rows.length === 0) return undefined;
  const found = rows.filter((row): row is EdgeRow => row.barrier !== null);
  const edges = found.slice(0, size);
  return { edges, next: found.length > size ? edges.at(-1) : undefined };
}
