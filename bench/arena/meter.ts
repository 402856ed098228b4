/** What a stretch of work cost: WAL, statements, and CPU by who used it. */
import type { Arena, Ground } from './arena.js';
import { familyCpuMs, processCpuMs } from './cpu.js';

export interface Cost {
  readonly seconds: number;
  readonly walBytes: number;
  /** Sent to this contestant's database; those inside functions do not count. */
  readonly statements: number;
  /** Of the server processes, 0 where there are none; NaN where CPU time cannot be known. */
  readonly serverCpuMs: number;
  /** Of this process: workers, clients and watchers. */
  readonly clientCpuMs: number;
  readonly postgresCpuMs: number;
}

export interface Meter {
  /** The cost so far. */
  read(): Promise<Cost>;
}

/** Server processes that are not there, or not known, cost nothing. */
export async function startMeter(
  arena: Arena,
  ground: Ground,
  ...serverPids: readonly (number | undefined)[]
): Promise<Meter> {
  const pids = serverPids.filter((pid) => pid !== undefined);
  const before = await reading(arena, ground, pids);
  return {
    read: async () => {
      const now = await reading(arena, ground, pids);
      return {
        seconds: (now.at - before.at) / 1_000,
        walBytes: now.wal - before.wal,
        statements: now.statements - before.statements,
        serverCpuMs: now.server - before.server,
        clientCpuMs: now.client - before.client,
        postgresCpuMs: now.postgres - before.postgres,
      };
    },
  };
}

/** Of several stretches together. */
export function sum(costs: readonly Cost[]): Cost {
  const total = (pick: (cost: Cost) => number) => costs.reduce((all, cost) => all + pick(cost), 0);
  return {
    seconds: total((cost) => cost.seconds),
    walBytes: total((cost) => cost.walBytes),
    statements: total((cost) => cost.statements),
    serverCpuMs: total((cost) => cost.serverCpuMs),
    clientCpuMs: total((cost) => cost.clientCpuMs),
    postgresCpuMs: total((cost) => cost.postgresCpuMs),
  };
}

/** By execution or call: bytes, statements, and microseconds of CPU. */
export function perUnit(cost: Cost, count: number): Readonly<Record<string, number>> {
  return {
    wal: cost.walBytes / count,
    statements: cost.statements / count,
    serverCpu: (cost.serverCpuMs * 1_000) / count,
    clientCpu: (cost.clientCpuMs * 1_000) / count,
    postgresCpu: (cost.postgresCpuMs * 1_000) / count,
  };
}

/** Postgres's own, which count as if a client had sent them. */
const FOREIGN_KEY_CHECK = 'SELECT 1 FROM ONLY % FOR KEY SHARE OF x';

interface Counters {
  readonly wal: string;
  readonly statements: string;
}

async function reading(arena: Arena, ground: Ground, serverPids: readonly number[]) {
  const { rows } = await arena.admin.query<Counters>(
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal,
       (select coalesce(sum(s.calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = $1 and s.toplevel and s.query not like $2) as statements`,
    [ground.name, FOREIGN_KEY_CHECK],
  );
  const servers = await Promise.all(serverPids.map(processCpuMs));
  const { user, system } = process.cpuUsage();
  return {
    at: performance.now(),
    wal: Number(rows[0]?.wal),
    statements: Number(rows[0]?.statements),
    server: servers.reduce<number>((sum, ms) => sum + (ms ?? Number.NaN), 0),
    client: (user + system) / 1_000,
    postgres: (await familyCpuMs(arena.postmaster)) ?? Number.NaN,
  };
}
