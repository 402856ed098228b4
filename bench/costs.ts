/**
 * Where Tailrace's time goes in a measure: its statements, with those inside its functions, and its server's own CPU.
 * For whoever makes it faster; the counting itself costs some percent, so its rates are not the table's.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arena, type Ground } from './arena/arena.js';
import { readCpuProfile } from './cpu-profile.js';
import type { Measure, Sample } from './measures/measure.js';
import type { Options } from './options.js';
import type { Scale } from './scale.js';
import { table } from './table.js';

const SHOWN = 40;

export async function costs(
  measures: readonly Measure[],
  scale: Scale,
  {
    directory: under,
    profiles,
    progress,
  }: Pick<Options, 'directory' | 'profiles'> & {
    readonly progress: (text: string) => void;
  },
): Promise<string> {
  const arena = await Arena.open({ under, nested: true });
  try {
    const sections: string[] = [];
    for (const profile of profiles) {
      await arena.enter(profile);
      if (profiles.length > 1) sections.push(`## ${profile}`);
      for (const measure of measures) sections.push(...(await sectionsOf(measure, arena, scale, progress)));
    }
    return sections.join('\n\n');
  } finally {
    await arena.close();
  }
}

async function sectionsOf(
  { id, costs: look }: Measure,
  arena: Arena,
  scale: Scale,
  progress: (text: string) => void,
): Promise<string[]> {
  if (look === undefined) return [];
  const profileInto = await mkdtemp(join(tmpdir(), 'tailrace-cpu-'));
  const sections: string[] = [];
  const record = (contestant: string, sample: Sample) => {
    const figures = Object.entries(sample).map(([key, value]) => `${key} ${value.toPrecision(4)}`);
    sections.push(`${id} ${contestant}: ${figures.join(', ')}`);
  };
  const onMeasured = async (contestant: string, ground: Ground, count: number) => {
    const statements = await costliestStatements(arena, ground.name, count);
    const heads = [
      'statement',
      'calls',
      'ms',
      'ms each',
      'µs per execution',
      'WAL B per execution',
      'pages per execution',
    ];
    sections.push(`${id} ${contestant}, over ${count} executions\n\n${table(heads, statements)}`);
  };
  try {
    await look({ arena, scale, record, progress }, { profileInto, onMeasured });
    const spent = await readCpuProfile(await largestFile(profileInto));
    const lines = spent.slice(0, SHOWN).map(({ place, ms, share }) => [place, ms.toFixed(0), (share * 100).toFixed(1)]);
    return [...sections, table(['server CPU', 'ms', '%'], lines)];
  } finally {
    await rm(profileInto, { recursive: true, force: true });
  }
}

interface StatementCost {
  readonly toplevel: boolean;
  readonly calls: string;
  readonly ms: number;
  readonly each: number;
  readonly wal: string;
  readonly pages: string;
  readonly query: string;
}

/** Those inside a function are indented: their time is part of a function's above them. */
async function costliestStatements(arena: Arena, database: string, count: number): Promise<string[][]> {
  const { rows } = await arena.admin.query<StatementCost>(
    `select s.toplevel, s.calls, s.total_exec_time as ms, s.mean_exec_time as each, s.wal_bytes as wal,
       s.shared_blks_hit + s.shared_blks_read as pages,
       left(regexp_replace(s.query, '\\s+', ' ', 'g'), 110) as query
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = $1 order by s.total_exec_time desc limit $2`,
    [database, SHOWN],
  );
  return rows.map(({ toplevel, calls, ms, each, wal, pages, query }) => [
    `${toplevel ? '' : '· '}${query.replaceAll('|', '¦')}`,
    calls,
    ms.toFixed(0),
    each.toFixed(2),
    ((ms * 1_000) / count).toFixed(1),
    (Number(wal) / count).toFixed(0),
    (Number(pages) / count).toFixed(1),
  ]);
}

/** Threads of the server write one of their own each. */
async function largestFile(directory: string): Promise<string> {
  const names = await readdir(directory);
  const files = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  return files.sort((a, b) => b.length - a.length)[0] ?? '';
}
