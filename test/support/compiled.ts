/**
 * The sources as plain JavaScript, made once a run by whoever needs them first: a process that runs them starts with a
 * third of the work that it takes to read TypeScript.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { inject } from 'vitest';
import { packageRoot } from '../../src/runtime/package-root.js';
import { eventually } from './eventually.js';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where the sources of this run are compiled to. */
    compiled: string;
  }
}

const BOUND_MS = 60_000;

/** Inside the package, so that it finds its dependencies and the migrations. */
export const compiledTo = (): string => join(packageRoot(), 'dist', `of-test-run-${process.pid}`);

export async function removeCompiled(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

/** The file of the command line. */
export async function compiledMain(): Promise<string> {
  const directory = inject('compiled');
  const done = join(directory, 'done');
  await mkdir(dirname(directory), { recursive: true });
  if (
    await mkdir(directory).then(
      () => true,
      () => false,
    )
  ) {
    await compile(directory);
    await writeFile(done, '');
  }
  await eventually(() => existsSync(done), BOUND_MS);
  return join(directory, 'src', 'main.js');
}

/** Whatever the types say: that is looked at elsewhere. */
async function compile(directory: string): Promise<void> {
  const root = packageRoot();
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
  const options = ['--outDir', directory, '--noCheck', '--declaration', 'false', '--sourceMap', 'false'];
  const child = spawn(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), ...options], { cwd: root });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`the sources could not be compiled: tsc ended with ${code}`);
}
