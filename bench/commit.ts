/** Which commit is measured, where this is a checkout of a repository. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { packageRoot } from '../src/runtime/package-root.js';

/** What a run writes itself changes nothing that is measured. */
const MEASURED = ['.', ':!bench/README.md', ':!bench/results'];

/** Such as `0123abc`, or `0123abc and changes`; undefined where nobody knows. */
export async function measuredCommit(): Promise<string | undefined> {
  try {
    const commit = await git('rev-parse', '--short', 'HEAD');
    const changes = await git('status', '--porcelain', '--', ...MEASURED);
    return changes === '' ? commit : `${commit} and changes`;
  } catch {
    return undefined;
  }
}

async function git(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('git', args, { cwd: packageRoot() });
  return stdout.trim();
}
