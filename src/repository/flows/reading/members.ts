/** Pages through the members of a flow, oldest first, as they stand. */
import type { Runner } from '../../database.js';
import { boundedScan } from '../../inspection/bounded-scan.js';
import { EXECUTION_JOINS, type ExecutionRow, executionColumns } from '../../inspection/execution-row.js';
import { FIRST_ID } from '../../inspection/id-bounds.js';
import { isExecutionShown, isShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';

const list = statement(
  'flows.members',
  `with subject as materialized (select f.id from {schema}.flow f
     where f.id = $2::uuid and f.namespace = $1::int and ${isShown('f.ended_at', '$1::int')}),
   ${boundedScan(
     [
       {
         name: 'member',
         from: '{schema}.execution t',
         where: 't.flow = $2::uuid',
         key: ['id'],
         columns: ['created_at'],
         filter: `where ($3::int[] is null or {schema}.state_of(s.k1) = any ($3::int[]))
       and ${isExecutionShown('s.k1', '$1::int', 's.created_at')}`,
       },
     ],
     { below: ['$4::uuid'], rows: '$5::int', budget: '$6::int', up: true },
   )}
   select floor.k1 as ceiling, ${executionColumns('-1', 'false')}
   from subject cross join floor left join (page ${EXECUTION_JOINS}) on true order by e.id`,
);

export interface MemberList {
  readonly members: readonly ExecutionRow[];
  /** What `after` is for the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

const BUDGET = 10_000;

/** `after`: the id that the page before ended with. Undefined when this namespace has no such flow. */
export async function listMembers(
  runner: Runner,
  namespace: number,
  flow: string,
  states: readonly number[] | null,
  after: string | null,
  size: number,
  budget = BUDGET,
): Promise<MemberList | undefined> {
  type Row = ExecutionRow & { readonly ceiling: string | null; readonly id: string | null };
  const rows = await runner.query<Row>(list, [namespace, flow, states, after ?? FIRST_ID, size + 1, budget]);
  const [first] = rows;
  if (first === undefined) return undefined;
  const found = rows.filter((row): row is ExecutionRow & { ceiling: string | null } => row.id !== null);
  const members = found.slice(0, size);
  const more = found.length > size ? members.at(-1)?.id : undefined;
  return { members, next: more ?? first.ceiling ?? undefined };
}
