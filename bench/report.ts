/** The results as Markdown that also reads well in a terminal: one table per measure and profile, then the targets. */
import { judge } from './judge.js';
import type { Column, Measure } from './measures/measure.js';
import { PROFILES, type Profile } from './profiles.js';
import { medianOf, type Results, type Row } from './results.js';
import { spread } from './statistics.js';
import { table } from './table.js';

export function report(results: Results, measures: readonly Measure[]): string {
  return [headline(results), targetsTable(results), ...measures.flatMap((measure) => sections(results, measure))].join(
    '\n\n',
  );
}

function headline({ date, version, machine, repeats }: Results): string {
  const { cores, cpu, memoryGiB, system, node, postgres } = machine;
  return (
    `**${date}**, Tailrace ${version}: ${cores} cores (${cpu}), ${memoryGiB} GiB, ${system}, Node ${node}, Postgres ${postgres} ` +
    `with fsync on. Server, clients and Postgres share these cores. Median (least–most) of ${repeats}.`
  );
}

function targetsTable(results: Results): string {
  const lines = judge(results).map(({ measure, profile, text, measured, reached, required }) => [
    measure,
    profile,
    text,
    measured,
    reached ? 'yes' : required ? '**no**' : 'not yet',
  ]);
  return `### Targets\n\n${table(['', 'profile', 'to reach', 'measured', 'reached'], lines)}`;
}

function sections(results: Results, measure: Measure): string[] {
  return (Object.keys(PROFILES) as Profile[]).flatMap((profile) => {
    const rows = results.rows.filter((row) => row.measure === measure.id && row.profile === profile);
    if (rows.length === 0) return [];
    const about = profile === 'plain' ? measure.about : `As above, ${PROFILES[profile].replace('the same ', '')}.`;
    return [`### ${measure.id} ${profile}: ${measure.title}\n\n${about}\n\n${measureTable(measure, rows)}`];
  });
}

function measureTable({ columns, ratio }: Measure, rows: readonly Row[]): string {
  const shown = columns.filter(({ key }) => rows.some((row) => row.samples.some((sample) => key in sample)));
  const base = ratio && (rows.find(({ contestant }) => contestant === ratio.to) ?? rows[0]);
  const heads = ['', ...shown.flatMap(({ key, title }) => (ratio?.column === key ? [title, ratio.title] : [title]))];
  const lines = rows.map((row) => [
    row.contestant,
    ...shown.flatMap((column) =>
      ratio?.column === column.key ? [figure(row, column), quotient(row, base, column.key)] : [figure(row, column)],
    ),
  ]);
  return table(heads, lines);
}

function figure(row: Row, { key, digits = 0 }: Column): string {
  const found = spread(row.samples.flatMap((sample) => sample[key] ?? []));
  if (found === undefined || Number.isNaN(found.median)) return '–';
  const text = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const { median, least, most } = found;
  return text(least) === text(most) ? text(median) : `${text(median)} (${text(least)}–${text(most)})`;
}

function quotient(row: Row, base: Row | undefined, key: string): string {
  const value = medianOf(row, key);
  const of = base && medianOf(base, key);
  return value === undefined || of === undefined ? '–' : (value / of).toFixed(2);
}
