/** The examples run, against a server that is there. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Report } from '../../examples/quickstart/report.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

/** Half of them take one worker alone four seconds: the other one has begun by then, whichever of them is killed. */
const FILES = 80;

let tailrace: TestTailrace;
let folder: string;
beforeAll(async () => {
  tailrace = await startTailrace();
  folder = await mkdtemp(join(tmpdir(), 'tailrace-quickstart-'));
  for (let file = 0; file < FILES; file++) {
    await writeFile(join(folder, `${file}.md`), `# Number ${file}\n\nThree more words, [next](${file + 1}.md)\n`);
  }
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await tailrace.stop();
});

function run(program: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', program, ...args], {
    env: { ...process.env, TAILRACE_URL: tailrace.url },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

async function outputOf(child: ChildProcess): Promise<string> {
  let output = '';
  child.stdout?.on('data', (text: Buffer) => {
    output += text.toString();
  });
  await once(child, 'close');
  return output;
}

test('the quickstart counts every file once, although one worker is killed half way', async () => {
  const child = run('examples/quickstart/main.ts', folder, '--json');
  const report: Report = JSON.parse(await outputOf(child));
  expect(child.exitCode).toBe(0);
  expect(report).toMatchObject({
    files: FILES,
    words: FILES * 6,
    headings: FILES,
    links: FILES,
    brokenRelativeLinks: [{ file: `${FILES - 1}.md`, link: `${FILES}.md` }],
    failed: [],
    books: { created: FILES, ended: FILES, succeeded: FILES, failed: 0, endedTwice: 0, problems: [] },
  });
  expect(report.kill?.doneBefore).toBe(FILES / 2);
  expect(report.kill?.takenOver).toBeGreaterThan(0);
});

test('the smallest flow adds up what two members left', async () => {
  const child = run('examples/flow/sum-of-squares.ts');
  expect(await outputOf(child)).toBe('25\n');
  expect(child.exitCode).toBe(0);
});

test('the flow with everything ends as it says', async () => {
  const child = run('examples/flow/main.ts');
  const lines = (await outputOf(child)).trimEnd().split('\n');
  expect(lines.sort()).toEqual([
    'Ada: SUCCEEDED "A Mill, by Ada"',
    'Edsger: CANCELED ',
    'Grace: CANCELED ',
    'report: SUCCEEDED "A Mill, by Ada: 9 words"',
    'text: SUCCEEDED "a wheel turns\\nin the tailrace\\nof the mill"',
    'title: SUCCEEDED "A Mill, by Ada"',
    'words: SUCCEEDED 9',
  ]);
  expect(child.exitCode).toBe(0);
});

test('two readers of a stream get the same bytes, although one of them breaks off time and again', async () => {
  const child = run('examples/streaming.ts');
  const lines = (await outputOf(child)).trimEnd().split('\n').sort();
  const told = /^as it was told: ([0-9a-f]{16})$/.exec(lines[0] ?? '')?.[1];
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(`^reconnects: [0-9]+ frames, [0-9]+ bytes, ${told}, many connections$`),
    expect.stringMatching(`^stays: [0-9]+ frames, [0-9]+ bytes, ${told}, one connection$`),
  ]);
  expect(child.exitCode).toBe(0);
});

test('the worker in twenty lines works, and stops when it is told to', async () => {
  const child = run('examples/worker-in-twenty-lines.ts');
  const said = String(await once(child.stdout ?? child, 'data'));
  expect(said).toContain("{ greeting: 'Hello, Ada!', attemptNumber: 1 }");
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
});
