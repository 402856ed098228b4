/** What Postgres did for a stretch of work, whatever the times of a busy machine are. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Arena, Ground } from './arena.js';
import { startMeter } from './meter.js';

const QUIET_PAUSE_MS = 100;
const QUIET_PAUSES = 20;

/** How the claim begins, for like. */
export const CLAIM_STATEMENT = '%.claim($1%';

export interface Spent {
  readonly calls: number;
  /** In statements of the outermost level. */
  readonly ms: number;
  /** Touched, found in memory or not. */
  readonly pages: number;
}

/** Until the engine has done what follows by itself: two looks without a statement in between. */
export async function quiet(arena: Arena, ground: Ground): Promise<void> {
  for (let i = 0; i < QUIET_PAUSES; i++) {
    const meter = await startMeter(arena, ground);
    await pause(QUIET_PAUSE_MS);
    if ((await meter.read()).statements === 0) return;
  }
}

/** Since statements were last forgotten: by all of them, or by those whose text is like this. */
export async function spentInStatements({ admin }: Arena, { name }: Ground, like = '%'): Promise<Spent> {
  const { rows } = await admin.query<Spent>(
    `select sum(s.calls)::float8 as calls, sum(s.shared_blks_hit + s.shared_blks_read)::float8 as pages,
       sum(s.total_exec_time) as ms
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = $1 and s.toplevel and s.query like $2`,
    [name, like],
  );
  const [spent] = rows;
  return { calls: spent?.calls ?? 0, pages: spent?.pages ?? Number.NaN, ms: spent?.ms ?? Number.NaN };
}

/** What the times of a busy machine cannot show: the work itself. */
export async function pagesPerCall(arena: Arena, ground: Ground, like: string): Promise<number> {
  const { pages, calls } = await spentInStatements(arena, ground, like);
  return pages / calls;
}

/** Transactions that were committed in its database so far. Sessions tell theirs once a second. */
export async function commits({ admin }: Arena, { name }: Ground): Promise<number> {
  const text = 'select xact_commit::float8 as count from pg_stat_database where datname = $1';
  const { rows } = await admin.query<{ count: number }>(text, [name]);
  return rows[0]?.count ?? Number.NaN;
}
