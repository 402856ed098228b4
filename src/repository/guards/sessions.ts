/**
 * Who is connected, and what is held open: sessions, transactions, slots, replicas. A role without pg_read_all_stats sees
 * less of others' sessions; what it cannot see is missing here.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const readSessions = statement(
  'guards.sessions',
  `with client as (
     select a.*, a.datname = current_database() as here, a.application_name like 'tailrace%' as ours
     from pg_stat_activity a where a.backend_type = 'client backend')
   select count(*)::int as clients, count(*) filter (where c.here and c.ours)::int as ours,
     (select coalesce(jsonb_agg(jsonb_build_object(
          'name', s.application_name, 'address', s.address, 'connections', s.connections) order by s.application_name), '[]')
      from (select x.application_name, coalesce(host(x.client_addr), 'local') as address, count(*)::int as connections
            from client x where x.here and x.ours and x.pid <> pg_backend_pid()
            group by x.application_name, x.client_addr) s) as servers,
     (select jsonb_build_object('pid', o.pid, 'name', o.application_name,
        'seconds', extract(epoch from clock_timestamp() - o.xact_start)::int)
      from client o where o.here and o.xact_start is not null and (o.backend_xmin is not null or o.backend_xid is not null)
      order by o.xact_start limit 1) as oldest
   from client c`,
);

const readHeld = statement(
  'guards.held',
  `with wal as (select case when pg_is_in_recovery() then null else pg_current_wal_lsn() end as at)
   select (select coalesce(jsonb_agg(jsonb_build_object('gid', p.gid,
        'seconds', extract(epoch from clock_timestamp() - p.prepared)::int)), '[]')
      from pg_prepared_xacts p where p.database = current_database()) as prepared,
     (select coalesce(jsonb_agg(jsonb_build_object('name', s.slot_name, 'active', s.active, 'state', s.wal_status,
        'bytes', pg_wal_lsn_diff(wal.at, s.restart_lsn)::bigint)), '[]') from pg_replication_slots s) as slots,
     (select coalesce(jsonb_agg(jsonb_build_object('name', r.application_name, 'sync', r.sync_state in ('sync', 'quorum'),
        'bytes', pg_wal_lsn_diff(wal.at, r.replay_lsn)::bigint,
        'seconds', extract(epoch from r.replay_lag)::int)), '[]')
      from pg_stat_replication r where r.state is not null) as replicas,
     (select count(*)::int from pg_stat_replication) as replica_count
   from wal`,
);

export interface Sessions {
  readonly clients: number;
  /** Of this engine, in this database, whatever their schema. */
  readonly ours: number;
  /** Connections of this engine by name and address, without the one that asks. */
  readonly servers: readonly { readonly name: string; readonly address: string; readonly connections: number }[];
  /** The transaction that holds back vacuum for longest, where that can be seen. */
  readonly oldest: { readonly pid: number; readonly name: string; readonly seconds: number } | null;
}

export interface Held {
  readonly prepared: readonly { readonly gid: string; readonly seconds: number }[];
  readonly slots: readonly {
    readonly name: string;
    readonly active: boolean;
    readonly state: string | null;
    readonly bytes: number | null;
  }[];
  /** Those whose state this role may see. */
  readonly replicas: readonly {
    readonly name: string;
    readonly sync: boolean;
    readonly bytes: number | null;
    readonly seconds: number | null;
  }[];
  readonly replica_count: number;
}

export async function readSessionsOf(runner: Runner): Promise<Sessions> {
  const [row] = await runner.query<Sessions>(readSessions);
  if (row === undefined) throw new Error('the database says nothing of its sessions');
  return row;
}

export async function readHeldBack(runner: Runner): Promise<Held> {
  const [row] = await runner.query<Held>(readHeld);
  if (row === undefined) throw new Error('the database says nothing of what is held');
  return row;
}
