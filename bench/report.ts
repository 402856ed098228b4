/** The results as Markdown that also reads well in a terminal: one table per measure and profile, then the targets. */
import { judge, type Verdict } from './judge.js';
import type { Column, Measure } from './measures/measure.js';
import { PROFILES, type Profile } from './profiles.js';
import { medianOf, type Results, type Row } from './results.js';
import { spread } from './statistics.js';
import { table } from './table.js';

export function report(results: Results, measures: readonly Measure[]): string {
  const verdicts = judge(results).map((verdict) => targetLine(verdict));
  return [
    headline(results),
    targetsTable(TARGET_HEADS, verdicts),
    ...measures.flatMap((measure) => sections(results, measure)),
  ].join('\n\n');
}

/** Of what was kept of several runs, each of one measure and profile: every table says on what it was measured. */
export function keptReport(kept: readonly Results[], measures: readonly Measure[]): string {
  const inOrder = measures.flatMap(({ id }) =>
    PROFILE_NAMES.flatMap((name) => kept.filter(({ rows }) => rows[0]?.measure === id && rows[0].profile === name)),
  );
  const verdicts = inOrder.flatMap((results) =>
    judge(results).map((verdict) => [...targetLine(verdict), results.date, results.commit ?? '–']),
  );
  return [
    targetsTable([...TARGET_HEADS, 'date', 'commit'], verdicts),
    ...inOrder.flatMap((results) => measures.flatMap((measure) => sections(results, measure, headline(results)))),
  ].join('\n\n');
}

const PROFILE_NAMES = Object.keys(PROFILES) as Profile[];
const TARGET_HEADS = ['', 'profile', 'to reach', 'measured', 'reached'];

function headline({ date, version, commit, scale, machine, repeats }: Results): string {
  const { cores, cpu, memoryGiB, system, node, postgres } = machine;
  return (
    `**${date}**, Tailrace ${version}${commit ? ` at ${commit}` : ''}${scale === 'full' ? '' : `, with --${scale}`}: ` +
    `${cores} cores (${cpu}), ${memoryGiB} GiB, ${system}, Node ${node}, Postgres ${postgres} with fsync on. ` +
    `Server, clients and Postgres share these cores. ${repeats === 1 ? 'Measured once.' : `Median (least–most) of ${repeats}.`}`
  );
}

function targetLine({ measure, profile, text, measured, reached, required }: Verdict): string[] {
  return [measure, profile, text, measured, reached ? 'yes' : required ? '**no**' : 'not yet'];
}

function targetsTable(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  return `### Targets\n\n${table(heads, lines)}`;
}

/** `dated` stands above each table. */
function sections(results: Results, measure: Measure, ...dated: readonly string[]): string[] {
  return PROFILE_NAMES.flatMap((profile) => {
    const rows = results.rows.filter((row) => row.measure === measure.id && row.profile === profile);
    if (rows.length === 0) return [];
    const about = profile === 'plain' ? measure.about : `As above, ${PROFILES[profile].replace('the same ', '')}.`;
    const heading = `### ${measure.id} ${profile}: ${measure.title}`;
    return [[heading, about, ...dated, measureTable(measure, rows)].join('\n\n')];
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
