/** Decides that a flow is canceled, and tells what becomes of its members. They end in batches right after. */
import { actingAs } from '../acting.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { CancelSettings } from './create.js';

const cancel = statement(
  'flows.cancel',
  actingAs(
    '$6',
    'verdict, state',
    (namespace) => `{schema}.cancel_flow(${namespace}, $2, $3::smallint, $4::jsonb, $5)`,
  ),
);

/** Those that are live, or were when the flow was canceled. By key: members are walked in order of their ids. */
const readMembers = statement(
  'flows.canceled-members',
  `with concerned as materialized (
     select e.id, o.state as ended, o.ended_at, o.reason::int as reason
     from {schema}.flow f
     join {schema}.execution e on e.flow = f.id and e.flow = $2::uuid
     left join lateral (select x.* from {schema}.outcome x where x.execution = e.id offset 0) o on true
     where f.id = $2::uuid and f.namespace = $1::int and (o.execution is null or o.ended_at >= f.canceled_at))
   select c.id as execution, coalesce(c.ended, {schema}.state_of(c.id))::int as state, c.ended_at, c.reason,
     exists (select from {schema}.lease l where l.execution = c.id and l.cancel_at is not null) as cancel_requested,
     (select count(*) from concerned) as total
   from concerned c order by c.ended_at nulls first, c.id limit $3`,
);

export interface FlowCancellation {
  readonly namespace: number;
  readonly flow: string;
  /** FlowCancelScope: 1 all, 2 pending only. */
  readonly scope: number;
  /** Null: the flow's own. */
  readonly policy: CancelSettings | null;
  readonly actor: string;
  readonly reason: string;
}

export interface FlowCanceled {
  /** already: the flow had ended, or the same decision stands. */
  readonly verdict: 'decided' | 'already' | 'missing';
  readonly state: number;
}

export async function cancelFlow(runner: Runner, asked: FlowCancellation): Promise<FlowCanceled> {
  const { policy } = asked;
  const [row] = await runner.query<FlowCanceled>(cancel, [
    asked.namespace,
    asked.flow,
    asked.scope,
    policy && JSON.stringify({ now: policy.now, grace_ms: policy.graceMs, accepts_late: policy.acceptsLate }),
    asked.reason,
    asked.actor,
  ]);
  if (row === undefined) throw new Error('cancel_flow answered nothing');
  return row;
}

export interface CanceledMember {
  readonly execution: string;
  readonly state: number;
  readonly ended_at: Date | null;
  readonly cancel_requested: boolean;
  /** EndReason. */
  readonly reason: number | null;
}

/** Live ones first, at most `limit`; `total` counts all that the cancellation concerns. */
export async function canceledMembers(
  runner: Runner,
  namespace: number,
  flow: string,
  limit: number,
): Promise<{ readonly total: bigint; readonly members: readonly CanceledMember[] }> {
  const rows = await runner.query<CanceledMember & { readonly total: bigint }>(readMembers, [namespace, flow, limit]);
  return { total: rows[0]?.total ?? 0n, members: rows };
}
