/** The command line as a process of its own: what a shell sees of it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ByHand } from '../../support/by-hand.js';
import { compiledMain } from '../../support/compiled.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let main: string;
let directory: string;

beforeAll(async () => {
  tailrace = await startTailrace();
  main = await compiledMain();
  directory = mkdtempSync(join(tmpdir(), 'cli-'));
  // Scripts of a shell find it by its name.
  const here = `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`;
  writeFileSync(join(directory, 'tailrace'), here, { mode: 0o755 });
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await tailrace.stop();
});

function environment(): Record<string, string> {
  return {
    PATH: `${directory}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    TAILRACE_URL: tailrace.url,
    XDG_CONFIG_HOME: join(directory, 'config'),
  };
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

function shell(script: string): Promise<Ended> {
  return new Promise((resolve) => {
    execFile('bash', ['--norc', '-c', script], { env: environment() }, (error, out, said) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, error: said });
    });
  });
}

async function said(child: ChildProcess, what: RegExp): Promise<void> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += chunk;
    if (what.test(text)) return;
  }
  throw new Error(`it ended without ${what}: ${text}`);
}

it('ends with its exit code, and writes results and notes apart', async () => {
  expect(await shell('tailrace lanes get none')).toMatchObject({
    code: 4,
    out: '',
    error: expect.stringMatching(/^tailrace: LANE_NOT_FOUND/),
  });
  expect(await shell('tailrace lans')).toMatchObject({ code: 2 });
  expect(await shell('tailrace --version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});

it('reads contents from a pipe, and prints what the next command takes', async () => {
  const script = `id=$(echo '{"a":1}' | tailrace executions create piped --lane piped --input-file -) && tailrace executions get $id --json`;
  const { code, out } = await shell(script);
  expect([code, JSON.parse(out).input]).toEqual([0, { contentType: 'application/json', text: '{"a":1}\n' }]);
});

it('takes it well that nobody reads on', async () => {
  const hand = new ByHand(tailrace);
  await hand.create(...Array.from({ length: 300 }, () => ({ lane: 'long' })));
  const list = 'tailrace executions list --lane long --all --json';
  expect(await shell(`${list} | head -c 10; exit \${PIPESTATUS[0]}`)).toMatchObject({ code: 0, error: '' });
  // It notices when it writes: as documents the entries are more than the pipe holds, however late the reader is.
  const tail = 'tailrace log tail --from earliest --kind execution-created --json';
  expect(await shell(`${tail} | head -n 3 | wc -l; exit \${PIPESTATUS[0]}`)).toMatchObject({
    code: 0,
    out: '3\n',
    error: '',
  });
});

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('a tail ends by %s with %s', async (signal, code) => {
  const hand = new ByHand(tailrace);
  await hand.createOne({ lane: signal });
  const words = ['log', 'tail', '--from', 'earliest', '--lane', signal.toLowerCase(), '--kind', 'execution-created'];
  const lane = signal.toLowerCase();
  await hand.createOne({ lane });
  const child = spawn(process.execPath, [main, ...words], { env: environment(), stdio: ['ignore', 'pipe', 'ignore'] });
  const exit = once(child, 'exit');
  await said(child, /EXECUTION_CREATED/);
  child.kill(signal);
  expect(await exit).toEqual([code, null]);
});

it('serves until it is told to stop', async () => {
  const { url, schema } = tailrace.database;
  const env = {
    ...environment(),
    DATABASE_URL: url,
    TAILRACE_SCHEMA: schema,
    TAILRACE_PORT: '0',
    TAILRACE_LOG_LEVEL: 'silent',
  };
  // Settings of clients in the same shell do not keep it from starting.
  const child = spawn(process.execPath, [main], {
    env: { ...env, TAILRACE_TOKEN: 'x' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  await said(child, /serves gRPC, .* at http:\/\/127\.0\.0\.1:\d+/);
  child.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});

it('completes lines of bash, with names that the server knows', async () => {
  await tailrace.admin.pauseLane({ lane: 'completed' });
  const cases = [
    ['tailrace dead', 'dead-letters'],
    ['tailrace lanes ', 'list get update pause resume'],
    ['tailrace dead-letters redrives ', 'get stop'],
    ['tailrace lanes list --sta', '--state'],
    ['tailrace lanes list --state ', 'open paused draining'],
    ['tailrace log list --kind lane-p', 'lane-paused'],
    ['tailrace --json executions canc', 'cancel'],
    ['tailrace lanes get compl', 'completed'],
    ['tailrace executions list --lane comp', 'completed'],
  ] as const;
  const asked = cases.map(
    ([typed]) => `COMP_WORDS=(${typed}${typed.endsWith(' ') ? '""' : ''})
      COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _tailrace; echo "\${COMPREPLY[@]}"`,
  );
  const file = join(directory, 'completion');
  const script = `tailrace completion bash > ${file} && bash -n ${file} && source ${file}\n${asked.join('\n')}`;
  // Names of a server that takes its time are left out.
  let ended = await shell(script);
  await eventually(async () => {
    if (!ended.out.endsWith('completed\ncompleted\n')) ended = await shell(script);
    return ended.out.endsWith('completed\ncompleted\n');
  });
  const { code, out, error } = ended;
  expect([code, error]).toEqual([0, '']);
  expect(out.trimEnd().split('\n')).toEqual(cases.map(([, words]) => words));
});
