/**
 * Where Tailrace's time goes in P1: its statements, with those inside its functions, and its server's own CPU. For
 * whoever makes it faster; the counting itself costs some percent, so its rates are not the table's.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arena } from './arena/arena.js';
import { readCpuProfile } from './cpu-profile.js';
import { throughputOf } from './measures/p1-throughput.js';
import { tailraceRaw } from './peers/tailrace.js';
import type { Scale } from './scale.js';
import { table } from './table.js';

const SHOWN = 40;

export async function costs(scale: Scale, under: string | undefined): Promise<string> {
  const arena = await Arena.open({ under, nested: true });
  const profiles = await mkdtemp(join(tmpdir(), 'tailrace-cpu-'));
  try {
    let statements: string[][] = [];
    const count = scale.throughput[tailraceRaw.pace];
    const sample = await throughputOf(tailraceRaw, arena, count, {
      profileInto: profiles,
      onMeasured: async (ground) => {
        statements = await costliestStatements(arena, ground.name, count);
      },
    });
    const figures = Object.entries(sample).map(([key, value]) => `${key} ${value.toPrecision(4)}`);
    const spent = await readCpuProfile(await largestFile(profiles));
    return [
      `${tailraceRaw.name}: ${figures.join(', ')}`,
      table(['statement', 'calls', 'ms', 'ms each', 'µs per execution', 'WAL B per execution'], statements),
      table(
        ['server CPU', 'ms', '%'],
        spent.slice(0, SHOWN).map(({ place, ms, share }) => [place, ms.toFixed(0), (share * 100).toFixed(1)]),
      ),
    ].join('\n\n');
  } finally {
    await rm(profiles, { recursive: true, force: true });
    await arena.close();
  }
}

interface StatementCost {
  readonly toplevel: boolean;
  readonly calls: string;
  readonly ms: number;
  readonly each: number;
  readonly wal: string;
  readonly query: string;
}

/** Those inside a function are indented: their time is part of a function's above them. */
async function costliestStatements(arena: Arena, database: string, count: number): Promise<string[][]> {
  const { rows } = await arena.admin.query<StatementCost>(
    `select s.toplevel, s.calls, s.total_exec_time as ms, s.mean_exec_time as each, s.wal_bytes as wal,
       left(regexp_replace(s.query, '\\s+', ' ', 'g'), 110) as query
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = $1 order by s.total_exec_time desc limit $2`,
    [database, SHOWN],
  );
  return rows.map(({ toplevel, calls, ms, each, wal, query }) => [
    `${toplevel ? '' : '· '}${query.replaceAll('|', '¦')}`,
    calls,
    ms.toFixed(0),
    each.toFixed(2),
    ((ms * 1_000) / count).toFixed(1),
    (Number(wal) / count).toFixed(0),
  ]);
}

/** Threads of the server write one of their own each. */
async function largestFile(directory: string): Promise<string> {
  const names = await readdir(directory);
  const files = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  return files.sort((a, b) => b.length - a.length)[0] ?? '';
}
