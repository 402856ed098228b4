/**
 * Keeps what a run found, measure by measure: every sample of one measure and profile in a file of its own, with the date
 * and the commit, and the tables of all of them in this folder's README. So nothing has to be measured in one go, and every
 * table says when it was.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../src/runtime/package-root.js';
import type { Measure } from './measures/measure.js';
import { keptReport } from './report.js';
import { partName, type Results } from './results.js';

const BEGIN = '<!-- results: written by npm run bench -->';
const END = '<!-- /results -->';
const SAMPLES = 'results';
const FOLDER = join(packageRoot(), 'bench');

/** Answers the files it wrote, from the root of the package. */
export async function store(results: Results, measures: readonly Measure[]): Promise<string[]> {
  await mkdir(join(FOLDER, SAMPLES), { recursive: true });
  const parts = partsOf(results, measures);
  for (const { file, part } of parts) await writeFile(join(FOLDER, file), `${JSON.stringify(part, null, 2)}\n`);
  await showAll(measures);
  return [join('bench', 'README.md'), ...parts.map(({ file }) => join('bench', file))];
}

/** One for each measure and profile. */
export function partsOf(results: Results, measures: readonly Measure[]): { file: string; part: Results }[] {
  return measures.flatMap(({ id, once }) => {
    const profiles = new Set(results.rows.filter(({ measure }) => measure === id).map(({ profile }) => profile));
    return [...profiles].map((name) => {
      const rows = results.rows.filter(({ measure, profile }) => measure === id && profile === name);
      const part = { ...results, repeats: once ? 1 : results.repeats, rows };
      return { file: join(SAMPLES, `${partName(id, name)}.json`), part };
    });
  });
}

async function showAll(measures: readonly Measure[]): Promise<void> {
  const names = (await readdir(join(FOLDER, SAMPLES))).filter((name) => name.endsWith('.json')).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(FOLDER, SAMPLES, name), 'utf8')));
  const table = keptReport(
    texts.map((text) => JSON.parse(text) as Results),
    measures,
  );
  const readme = join(FOLDER, 'README.md');
  const text = await readFile(readme, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) {
    throw new Error(`bench/README.md has lost the marks between which results stand; put back ${BEGIN} and ${END}`);
  }
  const kept = `Every sample: [${SAMPLES}](${SAMPLES}).`;
  await writeFile(readme, `${text.slice(0, begin) + BEGIN}\n\n${table}\n\n${kept}\n\n${text.slice(end)}`);
}
