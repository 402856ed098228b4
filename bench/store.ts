/** Keeps a whole run: the table in this folder's README, every sample beside it as JSON. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../src/runtime/package-root.js';
import type { Results } from './results.js';

const BEGIN = '<!-- results: written by npm run bench -->';
const END = '<!-- /results -->';

/** Answers the files it wrote, from the root of the package. */
export async function store(results: Results, table: string): Promise<string[]> {
  const folder = join(packageRoot(), 'bench');
  await mkdir(join(folder, 'results'), { recursive: true });
  const samples = join('results', `${results.date}.json`);
  await writeFile(join(folder, samples), `${JSON.stringify(results, null, 2)}\n`);
  const readme = join(folder, 'README.md');
  const text = await readFile(readme, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error('bench/README.md has lost the marks between which results stand');
  const kept = `Every sample: [${samples}](${samples}).`;
  await writeFile(readme, `${text.slice(0, begin) + BEGIN}\n\n${table}\n\n${kept}\n\n${text.slice(end)}`);
  return [join('bench', 'README.md'), join('bench', samples)];
}
